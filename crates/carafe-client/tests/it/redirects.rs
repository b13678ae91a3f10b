//! Redirects.

use carafe_client::{
    Error, EventSource, Lost, Method, Publish, Publisher, PublisherError, Revoke, Revoker,
    RevokerError, State,
};

use crate::script::{Script, answer, stream};
use crate::source::{all, losses, source};

fn redirect(status: u16, location: &str) -> String {
    answer(&format!("{status} Elsewhere"), &format!("Location: {location}\r\n"), "")
}

fn no_content() -> String {
    answer("204 No Content", "", "")
}

/// The first lines of the requests, without the version.
fn targets(script: &Script) -> Vec<String> {
    let requests = script.requests();
    requests.iter().map(|request| request.split(" HTTP/").next().unwrap().into()).collect()
}

#[tokio::test]
async fn each_status_is_followed_with_relative_locations_and_reconnects_begin_at_the_first_url() {
    for status in [301, 302, 303, 307, 308] {
        let script = Script::play(&[
            &redirect(status, "b?x=1"),
            &redirect(status, "/c"),
            &stream("id: 1\ndata: a\n\n"),
            &no_content(),
        ])
        .await;
        let url = format!("{}/a/", script.url());
        let mut source = EventSource::options(url).retry(std::time::Duration::ZERO).connect();
        assert_eq!(source.next().await.unwrap().unwrap().data, "a");
        let State::Open(head) = source.state() else { panic!("{status}") };
        assert_eq!(head.url, format!("{}/c", script.url()));
        assert!(source.next().await.is_none());
        assert_eq!(targets(&script), ["GET /a/", "GET /a/b?x=1", "GET /c", "GET /a/"], "{status}");
        assert_eq!(script.header(3, "last-event-id").unwrap(), "1");
    }
}

#[tokio::test]
async fn a_post_becomes_a_get_or_stays_as_browsers_do_it() {
    for (status, expected) in
        [(301, "GET /b"), (302, "GET /b"), (303, "GET /b"), (307, "POST /b"), (308, "POST /b")]
    {
        let script = Script::play(&[&redirect(status, "/b"), &no_content()]).await;
        let options = source(&script)
            .method(Method::POST)
            .header("content-type", "application/json")
            .header("x-tenant", "7")
            .body("{}");
        all(options.connect()).await;
        assert_eq!(targets(&script)[1], expected, "{status}");
        let stays = expected.starts_with("POST");
        assert_eq!(script.requests()[1].ends_with("{}"), stays, "{status}");
        assert_eq!(script.header(1, "content-type").is_some(), stays, "{status}");
        assert_eq!(script.header(1, "x-tenant").unwrap(), "7");
    }
}

#[tokio::test]
async fn another_origin_gets_no_credentials_and_the_way_back_brings_none() {
    let first = Script::play(&[&answer("204 No Content", "", "")]).await;
    let back = Script::play(&[&redirect(302, &format!("{}/back", first.url()))]).await;
    let start = Script::play(&[&redirect(307, &format!("{}/other", back.url()))]).await;
    let options = EventSource::options(start.url())
        .bearer("a.b.c")
        .header("cookie", "a=b")
        .header("x-api-key", "secret")
        .last_event_id("7");
    all(options.connect()).await;
    for name in ["authorization", "cookie", "x-api-key"] {
        assert!(start.header(0, name).is_some(), "{name}");
        assert_eq!((back.header(0, name), first.header(0, name)), (None, None), "{name}");
    }
    assert_eq!(first.header(0, "last-event-id").unwrap(), "7");
    assert_eq!(first.header(0, "accept").unwrap(), "text/event-stream");
}

#[tokio::test]
async fn a_redirect_that_leads_nowhere_is_tried_again_later() {
    let endless: Vec<_> = (0..21).map(|at| redirect(302, &format!("/{at}"))).collect();
    let ftp = redirect(302, "ftp://127.0.0.1/");
    let bad = redirect(302, "http://[");
    for (answers, expected) in [
        (endless.iter().map(String::as_str).collect(), "more than 20 redirects"),
        (vec![&*ftp], "the scheme ftp is not supported"),
        (vec![&*bad], "invalid"),
    ] {
        let end = no_content();
        let script = Script::play(&[&answers[..], &[&*end]].concat()).await;
        let (options, mut lost) = losses(source(&script));
        assert_eq!(all(options.connect()).await, (vec![], None));
        let Some(Lost::Unreachable(reason)) = lost.recv().await else { panic!("{expected}") };
        assert!(reason.to_string().to_lowercase().contains(expected), "{reason}");
    }
}

#[tokio::test]
async fn a_redirect_without_a_location_ends_it() {
    let script = Script::play(&[&answer("302 Found", "", "")]).await;
    let (_, error) = all(source(&script).connect()).await;
    assert!(matches!(error, Some(Error::Refused { status: 302, .. })), "{error:?}");
}

#[tokio::test]
async fn an_event_is_published_through_a_redirect_that_keeps_the_method_only() {
    let created =
        answer("201 Created", "Content-Type: application/json\r\n", r#"{"ids":["1-1-1"]}"#);
    for status in [307, 308] {
        let script = Script::play(&[&redirect(status, "/b/events"), &created]).await;
        let hub = Publisher::new(script.url());
        assert_eq!(hub.publish(&Publish::to("a", "b")).await, Ok("1-1-1".into()));
        assert_eq!(targets(&script), ["POST /events", "POST /b/events"]);
    }
    for status in [301, 302, 303] {
        let script = Script::play(&[&redirect(status, "/b/events"), &created]).await;
        let error = Publisher::new(script.url()).publish(&Publish::to("a", "b")).await.unwrap_err();
        assert!(matches!(error, PublisherError::Refused { status: found, .. } if found == status));
        assert_eq!(script.requests().len(), 1);
    }
}

#[tokio::test]
async fn what_a_topic_has_is_asked_through_any_redirect() {
    for status in [301, 302, 303, 307, 308] {
        let script = Script::play(&[&redirect(status, "/b"), &no_content()]).await;
        Publisher::new(script.url()).topic_state("a").await.unwrap();
        assert_eq!(targets(&script), ["HEAD /events/a", "HEAD /b"], "{status}");
    }
}

#[tokio::test]
async fn revocations_are_stored_lifted_and_listed_through_redirects_that_keep_the_method() {
    let revoked = r#"{"subject":"ann","issued_before":1,"until":null,"position":"1-1-1"}"#;
    for status in [307, 308] {
        let script = Script::play(&[&redirect(status, "/b"), &answer("200 OK", "", revoked)]).await;
        let hub = Revoker::new(script.url()).with_bearer("a.b.c");
        assert_eq!(hub.revoke(&Revoke::subject("ann")).await.unwrap().position, "1-1-1");
        assert_eq!(targets(&script), ["POST /revocations", "POST /b"]);
        assert!(script.requests()[1].ends_with(r#"{"subject":"ann"}"#), "{status}");
        assert_eq!(script.header(1, "content-type").unwrap(), "application/json");
        assert_eq!(script.header(1, "authorization").unwrap(), "Bearer a.b.c");
    }
    for status in [301, 302, 307, 308] {
        let script = Script::play(&[&redirect(status, "/b?x"), &no_content()]).await;
        assert!(Revoker::new(script.url()).lift(&Revoke::subject("ann")).await.unwrap());
        assert_eq!(targets(&script), ["DELETE /revocations?subject=ann", "DELETE /b?x"]);
    }
    for status in [301, 302, 303, 307, 308] {
        let none = answer("200 OK", "", r#"{"revocations":[]}"#);
        let script = Script::play(&[&redirect(status, "/b"), &none]).await;
        assert!(Revoker::new(script.url()).list().await.unwrap().is_empty());
        assert_eq!(targets(&script), ["GET /revocations", "GET /b"], "{status}");
    }
    let script = Script::play(&[&redirect(303, "/b")]).await;
    let error = Revoker::new(script.url()).revoke(&Revoke::subject("ann")).await.unwrap_err();
    assert!(matches!(error, RevokerError::Refused { status: 303, .. }), "{error:?}");
}

#[tokio::test]
async fn another_origin_gets_no_token_of_a_revoker() {
    let other = Script::play(&[&no_content()]).await;
    let script = Script::play(&[&redirect(307, &other.url())]).await;
    let hub = Revoker::new(script.url()).with_bearer("a.b.c");
    assert!(hub.lift(&Revoke::subject("ann")).await.unwrap());
    assert!(script.header(0, "authorization").is_some());
    assert_eq!(other.header(0, "authorization"), None);
}
