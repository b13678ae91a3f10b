//! The publisher.

use carafe_client::{Publish, PublishError, Publisher};

use crate::script::{Script, answer};

const JSON: &str = "Content-Type: application/json\r\n";

fn created() -> String {
    answer("201 Created", JSON, r#"{"ids":["1-1-1"]}"#)
}

fn order() -> Publish {
    Publish::to("orders", "one\nflat white")
}

#[tokio::test]
async fn an_event_is_sent_with_all_its_fields() {
    let script = Script::play(&[&created()]).await;
    let event = order().with_type("t").with_key("k").with_private(true);
    assert_eq!(Publisher::new(script.url() + "/").publish(&event).await, Ok("1-1-1".into()));
    let request = script.requests().remove(0);
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /events HTTP/1.1\r\n"), "{head}");
    assert_eq!(script.header(0, "content-type").unwrap(), "application/x-ndjson");
    let expected =
        r#"{"topic":"orders","data":"one\nflat white","event":"t","id":"k","private":true}"#;
    assert_eq!(body, format!("{expected}\n"));
}

#[tokio::test]
async fn a_batch_is_one_request() {
    let script =
        Script::play(&[&answer("201 Created", JSON, r#"{"ids":["1-1-1","1-2-2"]}"#)]).await;
    let ids =
        Publisher::new(script.url()).publish_all(&[order(), Publish::to("b", "")]).await.unwrap();
    assert_eq!(ids, ["1-1-1", "1-2-2"]);
    let expected =
        "{\"topic\":\"orders\",\"data\":\"one\\nflat white\"}\n{\"topic\":\"b\",\"data\":\"\"}\n";
    assert!(script.requests()[0].ends_with(expected));
}

#[tokio::test]
async fn a_rejection_has_the_detail_of_the_hub() {
    let script =
        Script::play(&[&answer("400 Bad Request", JSON, r#"{"detail":"use another"}"#)]).await;
    let error = Publisher::new(script.url()).publish(&order()).await.unwrap_err();
    assert_eq!(error, PublishError::Refused { status: 400, words: "use another".into() });
}

#[tokio::test]
async fn a_request_rejected_for_now_is_sent_again() {
    let busy = answer("503 Service Unavailable", JSON, r#"{"detail":"later"}"#);
    let script = Script::play(&[&busy, &created()]).await;
    assert_eq!(Publisher::new(script.url()).publish(&order()).await, Ok("1-1-1".into()));
}

#[tokio::test]
async fn where_the_outcome_is_unknown_only_events_with_keys_are_sent_again() {
    let script = Script::play(&["", &created()]).await;
    let error = Publisher::new(script.url()).publish(&order()).await.unwrap_err();
    assert!(matches!(error, PublishError::Unknown(_)), "{error:?}");
    assert_eq!(script.requests().len(), 1);

    let script = Script::play(&["", &created()]).await;
    let mixed = [order().with_key("k"), order()];
    assert!(matches!(
        Publisher::new(script.url()).publish_all(&mixed).await,
        Err(PublishError::Unknown(_))
    ));

    let script =
        Script::play(&["", "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", &created()])
            .await;
    assert_eq!(
        Publisher::new(script.url()).publish(&order().with_key("k")).await,
        Ok("1-1-1".into())
    );
    assert_eq!(script.requests().len(), 3);
}

#[tokio::test]
async fn an_unreachable_hub_is_reported_with_its_url() {
    let gone = Script::play(&[]).await.url();
    let error = Publisher::new(&*gone).publish(&order().with_key("k")).await.unwrap_err();
    assert!(
        matches!(&error, PublishError::Unreachable { url, .. } if url.starts_with(&gone)),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_url_that_cannot_be_requested_is_reported() {
    for url in ["", "hub", "ftp://127.0.0.1"] {
        let error = Publisher::new(url).publish(&order()).await.unwrap_err();
        assert!(matches!(error, PublishError::BadUrl { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_token_is_sent_with_each_request_and_appears_nowhere_else() {
    let script = Script::play(&[&created()]).await;
    let publisher = Publisher::new(script.url()).with_bearer("a.b.c");
    publisher.publish(&order()).await.unwrap();
    assert_eq!(script.header(0, "authorization").unwrap(), "Bearer a.b.c");
    assert!(!format!("{publisher:?}").contains("a.b.c"), "{publisher:?}");
    let broken = Publisher::new(script.url()).with_bearer("a\nb");
    assert_eq!(broken.publish(&order()).await, Err(PublishError::UnsendableToken));
    assert_eq!(script.requests().len(), 1);
}
