//! The publisher.

use std::future::ready;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use carafe_client::{Outcome, Publish, Publisher, PublisherError};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket};

use crate::script::{Script, Then, answer};

const JSON: &str = "Content-Type: application/json\r\n";

fn created() -> String {
    answer("201 Created", JSON, r#"{"ids":["1-1-1"]}"#)
}

fn order() -> Publish {
    Publish::to("orders", "one\nflat white")
}

/// The body of a request.
fn body(script: &Script, request: usize) -> serde_json::Value {
    let request = script.requests().remove(request);
    serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap()
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
async fn a_batch_is_one_request_and_without_retry_has_no_other_keys_than_its_own() {
    let script =
        Script::play(&[&answer("201 Created", JSON, r#"{"ids":["1-1-1","1-2-2"]}"#)]).await;
    let publisher = Publisher::new(script.url()).without_retry();
    let ids = publisher.publish_all(&[order(), Publish::to("b", "")]).await.unwrap();
    assert_eq!(ids, ["1-1-1", "1-2-2"]);
    let expected =
        "{\"topic\":\"orders\",\"data\":\"one\\nflat white\"}\n{\"topic\":\"b\",\"data\":\"\"}\n";
    assert!(script.requests()[0].ends_with(expected));
}

#[tokio::test]
async fn a_rejection_has_the_detail_of_the_hub_and_ends_the_attempts() {
    let script =
        Script::play(&[&answer("400 Bad Request", JSON, r#"{"detail":"use another"}"#)]).await;
    let error = Publisher::new(script.url()).publish(&order()).await.unwrap_err();
    assert_eq!(error, PublisherError::Refused { status: 400, words: "use another".into() });
    assert_eq!(script.requests().len(), 1);
}

#[tokio::test]
async fn a_request_is_sent_again_with_the_same_key_until_the_hub_accepts_it() {
    let script = Script::play(&[
        &answer("503 Service Unavailable", JSON, r#"{"detail":"later"}"#),
        &answer("429 Too Many Requests", "Retry-After: 0\r\n", ""),
        "",
        &answer("502 Bad Gateway", "", ""),
        &answer("507 Insufficient Storage", JSON, r#"{"detail":"full"}"#),
        &created(),
    ])
    .await;
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let recorder = Arc::clone(&reasons);
    let publisher = Publisher::new(script.url())
        .with_timeout(Duration::MAX)
        .on_retry(move |reason| recorder.lock().unwrap().push(reason.clone()));
    assert_eq!(publisher.publish(&order()).await, Ok("1-1-1".into()));
    let keys: Vec<_> = (0..6).map(|request| body(&script, request)["id"].clone()).collect();
    assert_eq!(keys[0].as_str().unwrap().len(), 32, "{keys:?}");
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    let reasons = reasons.lock().unwrap();
    let later = PublisherError::Refused { status: 503, words: "later".into() };
    assert_eq!((reasons.len(), &reasons[0]), (5, &later));
    assert!(matches!(&reasons[2..4], [PublisherError::Unknown(_), PublisherError::Unknown(_)]));
}

#[tokio::test]
async fn each_event_has_a_key_of_its_own() {
    let ids = answer("201 Created", JSON, r#"{"ids":["1-1-1","1-2-2"]}"#);
    let script = Script::play(&[&ids]).await;
    Publisher::new(script.url()).publish_all(&[order(), order()]).await.unwrap();
    let request = script.requests().remove(0);
    let lines = request.split_once("\r\n\r\n").unwrap().1.lines();
    let keys: Vec<_> = lines
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].clone())
        .collect();
    assert!(keys.len() == 2 && keys[0] != keys[1], "{keys:?}");
}

#[tokio::test]
async fn a_hub_that_is_not_there_yet_is_waited_for() {
    // Bound and not listening: connections are refused, and nobody else can take the port.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let (started, starts) = tokio::sync::oneshot::channel();
    let (socket, started) = (Mutex::new(Some(socket)), Mutex::new(Some(started)));
    let publisher = Publisher::new(url).with_timeout(Duration::MAX).on_retry(move |reason| {
        assert!(matches!(reason, PublisherError::Unreachable { .. }), "{reason}");
        if let Some(socket) = socket.lock().unwrap().take() {
            let listener = socket.listen(8).unwrap();
            let sent = started.lock().unwrap().take().unwrap().send(listener);
            assert!(sent.is_ok());
        }
    });
    let publishing = tokio::spawn(async move { publisher.publish(&order()).await });
    let script = Script::play_on(starts.await.unwrap(), &[&created()]);
    assert_eq!(publishing.await.unwrap(), Ok("1-1-1".into()));
    assert_eq!(script.requests().len(), 1);
}

/// The clock is set forward whenever all wait.
#[tokio::test(start_paused = true)]
async fn a_hub_that_does_not_respond_is_asked_again_within_the_time() {
    for timeout in [Duration::from_secs(2), Duration::from_secs(10)] {
        let script = Script::play_then(&[("", Then::Hang), (&created(), Then::Close)]).await;
        let publisher = Publisher::new(script.url()).with_timeout(timeout);
        assert_eq!(publisher.publish(&order()).await, Ok("1-1-1".into()));
        assert_eq!(body(&script, 0), body(&script, 1), "the same key");
    }
}

#[tokio::test]
async fn a_response_that_is_too_large_is_not_read() {
    let large = "HTTP/1.1 201 Created\r\nContent-Length: 100000000\r\n\r\n";
    let script = Script::play_then(&[(large, Then::Hang)]).await;
    let error = Publisher::new(script.url()).without_retry().publish(&order()).await.unwrap_err();
    assert!(
        matches!(&error, PublisherError::Unknown(reason) if reason.to_string().contains("64 MiB"))
    );
}

#[tokio::test]
async fn without_retry_there_is_one_attempt() {
    for refusal in ["", &answer("503 Service Unavailable", JSON, r#"{"detail":"later"}"#)] {
        let script = Script::play(&[refusal, &created()]).await;
        let publisher = Publisher::new(script.url()).without_retry();
        publisher.publish(&order().with_key("k")).await.unwrap_err();
        assert_eq!(script.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_wait_beyond_the_timeout_is_not_begun() {
    let busy = "Retry-After: 3600\r\nContent-Type: application/json\r\n";
    let script =
        Script::play(&[&answer("503 Service Unavailable", busy, r#"{"detail":"later"}"#)]).await;
    let error = Publisher::new(script.url()).publish(&order()).await.unwrap_err();
    assert_eq!(error, PublisherError::Refused { status: 503, words: "later".into() });
}

#[tokio::test]
async fn an_error_after_an_attempt_of_unknown_outcome_says_that_it_is_unknown() {
    let script = Script::play(&["", &answer("403 Forbidden", "", "")]).await;
    let error = Publisher::new(script.url()).publish(&order()).await.unwrap_err();
    assert!(
        matches!(&error, PublisherError::Unknown(reason) if reason.to_string().contains("403"))
    );
}

#[tokio::test]
async fn an_unreachable_hub_is_reported_with_its_url_when_the_time_is_over() {
    let gone = Script::play(&[]).await.url();
    let publisher = Publisher::new(&*gone).with_timeout(Duration::ZERO);
    let error = publisher.publish(&order().with_key("k")).await.unwrap_err();
    assert!(
        matches!(&error, PublisherError::Unreachable { url, .. } if url.starts_with(&gone)),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_not_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        }
    });
    let publisher = Publisher::new(url).with_timeout(Duration::MAX);
    let publisher = publisher.on_retry(|reason| panic!("tried again: {reason}"));
    let error = publisher.publish(&order()).await.unwrap_err();
    assert!(matches!(error, PublisherError::Unreachable { .. }), "{error:?}");
    serving.abort();
}

#[tokio::test]
async fn a_url_that_cannot_be_requested_is_reported() {
    for url in ["", "hub", "ftp://127.0.0.1"] {
        let error = Publisher::new(url).publish(&order()).await.unwrap_err();
        assert!(matches!(error, PublisherError::BadUrl { .. }), "{error:?}");
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
    assert_eq!(broken.publish(&order()).await, Err(PublisherError::UnsendableToken));
    assert_eq!(script.requests().len(), 1);
}

#[tokio::test]
async fn a_token_that_cannot_be_had_now_is_fetched_again() {
    let script = Script::play(&[&created()]).await;
    let attempts = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&attempts);
    let publisher = Publisher::new(script.url()).with_bearer_from(move |_| {
        let attempt = counted.fetch_add(1, Ordering::Relaxed);
        ready(if attempt == 0 { Err(io::Error::other("down")) } else { Ok("token".into()) })
    });
    publisher.publish(&order()).await.unwrap();
    assert_eq!(script.header(0, "authorization").unwrap(), "Bearer token");
    assert_eq!(attempts.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    let script = Script::play(&[]).await;
    let failing = |_| ready(Err::<String, _>(io::Error::other("down")));
    let publisher = Publisher::new(script.url()).with_bearer_from(failing).without_retry();
    let error = publisher.publish(&order()).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot get a token: down");
    assert_eq!(script.requests().len(), 0);
}

#[tokio::test]
async fn after_a_401_a_token_is_fetched_once_more() {
    let unauthorized = answer("401 Unauthorized", "", "");
    let script = Script::play(&[&unauthorized, &created(), &unauthorized, &unauthorized]).await;
    let publisher = Publisher::new(script.url()).with_bearer_from(|request| {
        ready(Ok::<_, io::Error>(if request.refused { "new" } else { "old" }.to_owned()))
    });
    publisher.publish(&order()).await.unwrap();
    let sent = [0, 1].map(|request| script.header(request, "authorization").unwrap());
    assert_eq!(sent, ["Bearer old", "Bearer new"]);
    assert_eq!(body(&script, 0), body(&script, 1), "the same key");
    let error = publisher.publish(&order()).await.unwrap_err();
    assert!(matches!(error, PublisherError::Refused { status: 401, .. }), "{error:?}");
    let script = Script::play(&[&unauthorized]).await;
    let fixed = Publisher::new(script.url()).with_bearer("a");
    assert!(fixed.publish(&order()).await.is_err());
    assert_eq!(script.requests().len(), 1);
}

#[tokio::test]
async fn a_topic_is_ended_with_a_reason() {
    let created = answer("201 Created", JSON, r#"{"id":"1-2-3"}"#);
    let script = Script::play(&["", &created]).await;
    let hub = Publisher::new(script.url());
    assert_eq!(hub.end("chat/7", Outcome::Failed, "no beans").await, Ok("1-2-3".into()));
    let first = script.requests()[1].lines().next().unwrap().to_owned();
    assert_eq!(first, "POST /events/chat/7?end=failed&reason=no+beans HTTP/1.1");
}
