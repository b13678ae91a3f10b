//! The event source.

use std::time::Duration;

use carafe_client::{Error, EventSource, Lost};
use futures_util::StreamExt;

use crate::script::{Script, Then, answer, stream};
use crate::source::{all, losses, source};

#[tokio::test]
async fn it_reconnects_after_the_last_event_id_until_there_is_no_content() {
    let script = Script::play(&[
        &stream("id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: unfinished"),
        &stream("data: without an ID\n\nid: caf\u{e9}\n\n"),
        &answer("204 No Content", "", ""),
    ])
    .await;
    let (data, error) = all(source(&script).connect()).await;
    assert_eq!((data, error), (vec!["a".into(), "b".into(), "without an ID".into()], None));
    assert_eq!(script.header(0, "accept").unwrap(), "text/event-stream");
    assert_eq!(script.header(0, "last-event-id"), None);
    assert_eq!(
        script.header(1, "last-event-id").unwrap(),
        "2",
        "the unfinished event does not count"
    );
    assert_eq!(script.header(2, "last-event-id").unwrap(), "caf\u{e9}");
}

#[tokio::test]
async fn it_resumes_after_an_id_of_an_earlier_run() {
    let script = Script::play(&[&answer("204 No Content", "", "")]).await;
    let mut source = source(&script).last_event_id("7").connect();
    assert_eq!(source.last_event_id(), "7");
    assert_eq!(StreamExt::next(&mut source).await, None);
    assert_eq!(script.header(0, "last-event-id").unwrap(), "7");
}

#[tokio::test]
async fn a_refusal_for_good_ends_it_with_the_servers_words() {
    let problem = r#"{"type":"x","title":"Bad topic","detail":"leave it out"}"#;
    let json = "Content-Type: application/problem+json\r\n";
    let script = Script::play(&[&answer("400 Bad Request", json, problem)]).await;
    let (_, error) = all(source(&script).connect()).await;
    assert_eq!(error, Some(Error::Refused { status: 400, words: "leave it out".into() }));

    let script = Script::play(&[&answer("404 Not Found", "", "<h1>nothing</h1>")]).await;
    let (_, error) = all(source(&script).connect()).await;
    assert_eq!(error, Some(Error::Refused { status: 404, words: "404 Not Found".into() }));
}

#[tokio::test]
async fn an_answer_that_is_no_event_stream_ends_it() {
    let script =
        Script::play(&[&answer("200 OK", "Content-Type: text/plain\r\n", "data: a\n\n")]).await;
    assert_eq!(all(source(&script).connect()).await, (vec![], Some(Error::NotAnEventStream)));
}

#[tokio::test]
async fn a_rejection_for_now_and_a_lost_connection_are_reported_and_retried() {
    let cut = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
               Transfer-Encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n";
    let script = Script::play(&[
        &answer("503 Service Unavailable", "Retry-After: 0\r\n", r#"{"detail":"later"}"#),
        cut,
        &stream("data: b\n\n"),
        &answer("200 OK", "Content-Type: Text/HTML; charset=utf-8\r\n", "<p>Log in"),
        &answer("204 No Content", "", ""),
    ])
    .await;
    let (options, mut reported) = losses(source(&script));
    assert_eq!(all(options.connect()).await, (vec!["a".into(), "b".into()], None));
    let words = "later".into();
    let refused = Lost::Refused { status: 503, words, retry_after: Some(Duration::ZERO) };
    assert_eq!(reported.recv().await, Some(refused));
    assert!(matches!(reported.recv().await, Some(Lost::Broken(_))));
    assert_eq!(reported.recv().await, Some(Lost::Closed));
    assert_eq!(reported.recv().await, Some(Lost::Html));
    assert_eq!(reported.recv().await, None);
}

#[tokio::test]
async fn each_status_that_may_change_is_retried() {
    for status in ["408", "425", "429", "500", "502", "503", "504", "520"] {
        let script = Script::play(&[
            &answer(&format!("{status} Later"), "", "<html>"),
            &answer("204 No Content", "", ""),
        ])
        .await;
        assert_eq!(all(source(&script).connect()).await, (vec![], None), "{status}");
        assert_eq!(script.requests().len(), 2, "{status}");
    }
    for status in [206, 300, 304, 400, 401, 403, 404, 410, 421] {
        let script = Script::play(&[&answer(&format!("{status} For Good"), "", "")]).await;
        let (_, error) = all(source(&script).bearer("fixed").connect()).await;
        let refused =
            matches!(error, Some(Error::Refused { status: found, .. }) if found == status);
        assert!(refused, "{status}: {error:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_tried_again_unless_the_first_connection_must_succeed() {
    let gone = Script::play(&[]).await.url();
    let strict = EventSource::options(&gone).first_must_succeed().connect();
    let (_, error) = all(strict).await;
    assert!(matches!(error, Some(Error::Unreachable(Lost::Unreachable(_)))), "{error:?}");

    let options = EventSource::options(&gone).retry(Duration::ZERO);
    let (options, mut reported) = losses(options);
    let trying = tokio::spawn(all(options.connect()));
    for _ in 0..3 {
        assert!(matches!(reported.recv().await, Some(Lost::Unreachable(_))));
    }
    trying.abort();
}

#[tokio::test]
async fn a_connection_without_a_byte_for_too_long_is_made_again() {
    let script = Script::play_then(&[
        (&stream(": hello\n"), Then::Hang),
        ("", Then::Hang),
        (&stream("data: back\n\n"), Then::Close),
        (&answer("204 No Content", "", ""), Then::Close),
    ])
    .await;
    let silence = Duration::from_millis(300);
    let (options, mut reported) = losses(source(&script).silence(silence));
    assert_eq!(all(options.connect()).await, (vec!["back".into()], None));
    assert_eq!(reported.recv().await, Some(Lost::Silence(silence)), "a silent stream");
    assert_eq!(reported.recv().await, Some(Lost::Silence(silence)), "a silent server");
}

#[tokio::test]
async fn the_time_in_which_a_program_handles_an_event_is_no_silence() {
    let script = Script::play_then(&[(&stream("data: a\n\n"), Then::Hang)]).await;
    let (options, mut reported) = losses(source(&script));
    let mut events = options.connect();
    assert_eq!(events.next().await.unwrap().unwrap().data, "a");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3600)).await;
    tokio::time::resume();
    // Polled once: the silence begins now.
    assert!(futures_util::poll!(std::pin::pin!(events.next())).is_pending());
    assert!(reported.try_recv().is_err(), "nothing was lost");
    assert!(matches!(events.state(), carafe_client::State::Open(_)), "{:?}", events.state());
}

#[tokio::test]
async fn an_event_over_the_limit_ends_it() {
    let script = Script::play(&[&stream("data: ok\n\ndata: 0123456789\n\n")]).await;
    let (data, error) = all(source(&script).event_bytes(10).connect()).await;
    assert_eq!(data, ["ok"]);
    assert!(matches!(error, Some(Error::TooLarge(_))), "{error:?}");
}

#[tokio::test]
async fn an_id_that_no_header_can_carry_ends_it() {
    let script = Script::play(&[&stream("id: \u{1}\ndata: a\n\n")]).await;
    assert_eq!(all(source(&script).connect()).await, (vec!["a".into()], Some(Error::UnsendableId)));
}

#[tokio::test]
async fn a_url_that_cannot_be_requested_ends_it() {
    for url in ["", "events", "ftp://127.0.0.1"] {
        let (_, error) = all(EventSource::new(url)).await;
        assert!(matches!(error, Some(Error::BadUrl { .. })), "{url}: {error:?}");
    }
}

#[tokio::test]
async fn the_stream_has_the_time_to_wait() {
    let script = Script::play(&[&stream("retry: 1\n\n"), &answer("204 No Content", "", "")]).await;
    let source = EventSource::options(script.url()).retry(Duration::from_secs(3600)).connect();
    assert_eq!(all(source).await, (vec![], None));
    assert_eq!(script.requests().len(), 2);
}

#[tokio::test]
async fn a_huge_event_under_the_limit_arrives_whole_and_one_over_it_in_parts_does_not() {
    let data = "x".repeat(3 << 20);
    let script = Script::play(&[&stream(&format!("data: {data}\ndata: {data}\n\n"))]).await;
    let mut events = source(&script).connect();
    assert!(events.next().await.unwrap().unwrap().data == format!("{data}\n{data}"));
    let script = Script::play(&[&stream(&format!("data: {data}\ndata: {data}\n\n"))]).await;
    let (_, error) = all(source(&script).event_bytes(4 << 20).connect()).await;
    assert!(matches!(error, Some(Error::TooLarge(_))), "{error:?}");
}

#[tokio::test]
async fn dropping_a_source_closes_its_connection() {
    let script = Script::play_then(&[(&stream("data: a\n\n"), Then::AwaitClose)]).await;
    let mut events = source(&script).connect();
    events.next().await.unwrap().unwrap();
    drop(events);
    script.closed().await;
}
