//! The states of a source.

use std::time::{Duration, Instant};

use carafe_client::{EndReason, Error, EventSource, Lost, State};

use crate::script::{Script, Then, answer, stream};
use crate::source::{all, source};

/// The names of the states, in order.
async fn names(mut states: carafe_client::States) -> Vec<String> {
    let mut names = Vec::new();
    while let Some(state) = states.next().await {
        names.push(match state {
            State::Connecting => "connecting".into(),
            State::Open(head) => format!("open {}", head.headers["content-type"].to_str().unwrap()),
            State::Waiting { reason, .. } => format!("waiting: {reason}"),
            State::Ended(EndReason::Done) => "done".into(),
            State::Ended(EndReason::Failed(error)) => format!("failed: {error}"),
            state => format!("{state:?}"),
        });
    }
    names
}

#[tokio::test]
async fn each_change_is_told_in_order_to_each_listener() {
    let script = Script::play(&[
        &stream("data: a\n\n"),
        &answer("502 Bad Gateway", "", ""),
        &answer("404 Not Found", "", ""),
    ])
    .await;
    let source = source(&script).connect();
    let listeners = [source.states(), source.states()];
    all(source).await;
    let expected = [
        "connecting",
        "open text/event-stream; charset=utf-8",
        "waiting: the server ended the stream",
        "connecting",
        "waiting: the server rejects the request for now: 502 Bad Gateway",
        "connecting",
        "failed: the server rejects the request (404): 404 Not Found",
    ];
    for states in listeners {
        assert_eq!(names(states).await, expected);
    }
}

#[tokio::test]
async fn a_wait_says_until_when_it_lasts_and_the_server_sets_its_lower_bound() {
    let script = Script::play(&[
        &stream("retry: 150000\n\n"),
        &answer("503 Service Unavailable", "Retry-After: 600\r\n", ""),
    ])
    .await;
    for (retry, least) in [(Duration::from_secs(3600), 150), (Duration::from_secs(1), 600)] {
        let begun = Instant::now();
        let mut source = EventSource::options(script.url()).retry(retry).connect();
        let mut states = source.states();
        let reading = tokio::spawn(async move { source.next().await });
        let until = loop {
            if let State::Waiting { until, .. } = states.next().await.unwrap() {
                break until;
            }
        };
        let least = Duration::from_secs(least);
        assert!(until - begun >= least, "{:?}", until - begun);
        // At most half a minute of jitter for the first failure.
        assert!(until - Instant::now() <= least + Duration::from_secs(30));
        reading.abort();
    }
}

#[tokio::test]
async fn a_listener_that_comes_late_is_told_the_present_state_and_the_end() {
    let script = Script::play_then(&[(&stream("data: a\n\n"), Then::Hang)]).await;
    let mut source = source(&script).connect();
    source.next().await.unwrap().unwrap();
    let mut states = source.states();
    assert!(matches!(states.next().await, Some(State::Open(head)) if head.status == 200));
    drop(source);
    assert!(states.next().await.is_none());
}

#[tokio::test]
async fn the_end_is_told_by_the_state_and_the_stream_alike() {
    let script = Script::play(&[&answer("204 No Content", "", "")]).await;
    let mut done = source(&script).connect();
    assert!(matches!(done.state(), State::Connecting));
    assert!(done.next().await.is_none());
    assert!(matches!(done.state(), State::Ended(EndReason::Done)));

    let mut failed = EventSource::new("ftp://127.0.0.1");
    let error = failed.next().await.unwrap().unwrap_err();
    assert!(matches!(error, Error::BadUrl { .. }));
    let State::Ended(reason) = failed.state() else { panic!("{:?}", failed.state()) };
    assert_eq!(*reason, EndReason::Failed(error));
}

#[tokio::test]
async fn a_listener_that_is_waiting_is_woken() {
    let script = Script::play(&[&answer("204 No Content", "", "")]).await;
    let mut source = source(&script).connect();
    let mut states = source.states();
    assert!(matches!(states.next().await, Some(State::Connecting)));
    let told = tokio::spawn(async move { states.next().await });
    tokio::task::yield_now().await;
    assert!(source.next().await.is_none());
    assert!(matches!(told.await.unwrap(), Some(State::Ended(EndReason::Done))));
}

#[tokio::test]
async fn a_source_may_wait_for_ever() {
    let script = Script::play_then(&[(&stream("data: a\n\n"), Then::Hang)]).await;
    let mut source = source(&script).silence(Duration::MAX).connect();
    assert_eq!(source.next().await.unwrap().unwrap().data, "a");
    assert!(futures_util::poll!(std::pin::pin!(source.next())).is_pending());
}

#[test]
fn the_reasons_are_texts() {
    assert_eq!(Lost::Silence(Duration::from_millis(1500)).to_string(), "no data arrived for 1.5 s");
}
