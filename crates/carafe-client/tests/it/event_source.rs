//! The event source.

use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use carafe_client::{Error, EventSource, EventSourceOptions, Lost};
use futures_util::StreamExt;

use crate::script::{Script, Then, answer, stream};

const SOON: Duration = Duration::from_millis(1);

fn source(script: &Script) -> EventSourceOptions {
    EventSource::options(script.url()).retry(SOON)
}

/// The data of all events, and the error at the end, if there is one.
async fn all(mut source: EventSource) -> (Vec<String>, Option<Error>) {
    let mut data = Vec::new();
    while let Some(event) = source.next().await {
        match event {
            Ok(event) => data.push(event.data),
            Err(error) => {
                assert!(source.next().await.is_none(), "it ends after an error");
                return (data, Some(error));
            }
        }
    }
    (data, None)
}

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
        Script::play(&[&answer("200 OK", "Content-Type: text/html\r\n", "data: a\n\n")]).await;
    assert_eq!(all(source(&script).connect()).await, (vec![], Some(Error::NotAnEventStream)));
}

#[tokio::test]
async fn a_rejection_for_now_and_a_lost_connection_are_reported_and_retried() {
    let script = Script::play(&[
        &answer("503 Service Unavailable", "Retry-After: 0\r\n", r#"{"detail":"later"}"#),
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n",
        &stream("data: b\n\n"),
        &answer("204 No Content", "", ""),
    ])
    .await;
    let reported = Arc::new(Mutex::new(Vec::new()));
    let recorder = Arc::clone(&reported);
    let source =
        source(&script).on_lost(move |lost| recorder.lock().unwrap().push(lost.clone())).connect();
    assert_eq!(all(source).await, (vec!["a".into(), "b".into()], None));
    let reported = reported.lock().unwrap();
    assert_eq!(
        reported[0],
        Lost::Refused { words: "later".into(), retry_after: Some(Duration::ZERO) }
    );
    assert!(matches!(reported[1], Lost::Broken(_)), "{reported:?}");
    assert_eq!(reported[2], Lost::Ended);
    assert_eq!(reported.len(), 3);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_tried_again_unless_the_first_connection_must_succeed() {
    let gone = Script::play(&[]).await.address;
    let url = format!("http://{gone}");
    let strict = EventSource::options(&url).first_must_succeed().connect();
    let (_, error) = all(strict).await;
    assert!(matches!(error, Some(Error::Unreachable(Lost::Unreachable(_)))), "{error:?}");

    let (report, mut reported) = tokio::sync::mpsc::unbounded_channel();
    let patient = EventSource::options(&url)
        .retry(SOON)
        .on_lost(move |lost| report.send(lost.clone()).unwrap());
    let trying = tokio::spawn(all(patient.connect()));
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
    let idle = Duration::from_millis(50);
    let (report, mut reported) = tokio::sync::mpsc::unbounded_channel();
    let source = source(&script).idle(idle).on_lost(move |lost| report.send(lost.clone()).unwrap());
    assert_eq!(all(source.connect()).await, (vec!["back".into()], None));
    assert_eq!(reported.recv().await, Some(Lost::Idle(idle)), "a silent stream");
    assert_eq!(reported.recv().await, Some(Lost::Idle(idle)), "a silent server");
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
async fn the_token_is_requested_before_each_connection() {
    let script = Script::play(&[&stream("data: one\n\n"), &stream("data: two\n\n")]).await;
    let mut number = 0;
    let options = EventSource::options(script.url()).retry(Duration::from_millis(1));
    let mut events = options
        .bearer_from(move || {
            number += 1;
            // Takes its time, as a request to a login service does.
            async move {
                tokio::task::yield_now().await;
                Ok::<_, Infallible>(format!("token-{number}"))
            }
        })
        .connect();
    for data in ["one", "two"] {
        assert_eq!(events.next().await.unwrap().unwrap().data, data);
    }
    let sent = [0, 1].map(|request| script.header(request, "authorization").unwrap());
    assert_eq!(sent, ["Bearer token-1", "Bearer token-2"]);
}

#[tokio::test]
async fn a_token_that_cannot_be_had_now_is_fetched_again() {
    let script = Script::play(&[&stream("data: one\n\n")]).await;
    let (lost, losses) = mpsc::channel();
    let mut tokens = [Err(io::Error::other("the login service is down")), Ok("token")].into_iter();
    let mut events = source(&script)
        .bearer_from(move || ready(tokens.next().unwrap().map(String::from)))
        .on_lost(move |reason| lost.send(reason.to_string()).unwrap())
        .connect();
    assert_eq!(events.next().await.unwrap().unwrap().data, "one");
    assert_eq!(losses.recv().unwrap(), "cannot get a token: the login service is down");
    assert_eq!(script.header(0, "authorization").unwrap(), "Bearer token");
}

#[tokio::test]
async fn events_of_the_hub_itself_are_hidden_unless_they_are_asked_for() {
    let body = "event: carafe.position\ndata: {}\nid: 7\n\ndata: one\n\n\
                event: carafe.gap\ndata: {}\nid: 8\n\n";
    let ended = answer("204 No Content", "", "");
    for (wanted, types) in
        [(false, vec!["message"]), (true, vec!["carafe.position", "message", "carafe.gap"])]
    {
        let script = Script::play(&[&stream(body), &ended]).await;
        let options = if wanted { source(&script).with_control_events() } else { source(&script) };
        let mut events = options.connect();
        let mut received = Vec::new();
        while let Some(event) = events.next().await {
            received.push(event.unwrap().event_type);
        }
        assert_eq!(received, types);
        assert_eq!(events.last_event_id(), "8");
        assert_eq!(script.header(1, "last-event-id").unwrap(), "8");
    }
}
