//! Feeds.

use std::convert::Infallible;
use std::future::ready;
use std::time::Duration;

use carafe_client::{FeedError, FeedEvent, Outcome, Publisher, PublisherError};

use crate::fake_hub::{FakeHub, Fate};
use crate::script::{Script, Then};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

/// The method and the path of each request.
fn targets(hub: &FakeHub) -> Vec<String> {
    let requests = &hub.stored().requests;
    requests.iter().map(|head| head.split(" http/").next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn each_event_is_stored_while_the_request_is_open() {
    let hub = FakeHub::start(&[]).await;
    let mut feed = Publisher::new(&*hub.url).feed("chat/7");
    for number in numbers(3) {
        feed.send(FeedEvent::new(&*number)).await.unwrap();
        hub.until(|stored| stored.events.last().is_some_and(|(_, data)| *data == number)).await;
    }
    let fed = feed.finish().await.unwrap();
    assert_eq!((fed.events, fed.position.as_deref()), (3, Some("1-9-9")));
    assert_eq!(targets(&hub), ["post /events/chat/7"], "one request");
}

#[tokio::test]
async fn a_request_that_breaks_is_continued_where_the_hub_is_and_nothing_is_doubled() {
    let cuts = [Fate::CutAfter(3), Fate::CutAfter(1), Fate::Refuse(503), Fate::CutAfter(40)];
    let hub = FakeHub::start(&cuts).await;
    let mut feed = Publisher::new(&*hub.url).feed("chat/7");
    for number in numbers(100) {
        feed.send(number).await.unwrap();
    }
    let fed = feed.finish().await.unwrap();
    assert_eq!(fed.events, 100);
    assert_eq!(hub.data(), numbers(100));
    assert_eq!(hub.stored().repeated, 0, "the hub was asked what it has");
    let targets = targets(&hub);
    assert_eq!(targets.iter().filter(|target| target.starts_with("HEAD")).count(), cuts.len());
}

#[tokio::test]
async fn what_the_hub_has_is_found_by_key_although_somebody_else_has_published_since() {
    let hub = FakeHub::start(&[Fate::CutAfter(2)]).await;
    let mut feed = Publisher::new(&*hub.url).feed("chat/7");
    feed.send("0").await.unwrap();
    feed.send("1").await.unwrap();
    hub.until(|stored| stored.events.len() == 2).await;
    hub.stored().events.push(("other".into(), "other".into()));
    feed.send("2").await.unwrap();
    assert_eq!(feed.finish().await.unwrap().events, 3);
    assert_eq!(hub.data(), ["0", "1", "other", "2"]);
    assert_eq!(hub.stored().repeated, 2);
}

/// Real time would be too long: the clock is set forward whenever all wait.
#[tokio::test(start_paused = true)]
async fn a_silent_producer_keeps_its_request() {
    let hub = FakeHub::start(&[]).await;
    let mut feed = Publisher::new(&*hub.url).with_timeout(Duration::MAX).feed("chat/7");
    feed.send("0").await.unwrap();
    hub.until(|stored| stored.was_kept_alive).await;
    feed.send("1").await.unwrap();
    assert_eq!(feed.finish().await.unwrap().events, 2);
    assert_eq!(hub.data(), ["0", "1"]);
}

#[tokio::test]
async fn a_feed_goes_on_after_a_flush() {
    let hub = FakeHub::start(&[]).await;
    let mut feed = Publisher::new(&*hub.url).feed("chat/7");
    for round in 1..=3 {
        feed.send("x").await.unwrap();
        assert_eq!(feed.flush().await.unwrap().events, round);
        assert_eq!(hub.data().len() as u64, round);
    }
    assert_eq!(feed.flush().await.unwrap().events, 3, "nothing is left to store");
    feed.finish().await.unwrap();
}

#[tokio::test]
async fn a_program_that_is_faster_than_the_hub_waits_and_keeps_a_bounded_backlog() {
    let hub = FakeHub::start(&[Fate::Ignore]).await;
    let mut feed = Publisher::new(&*hub.url).feed("chat/7").with_backlog(10_000);
    let mut sent = 0;
    // Each event takes its 1000 bytes and its own cost.
    while sent < 100 {
        let event = FeedEvent::new("x".repeat(1000));
        let sending = feed.send(event);
        if tokio::time::timeout(Duration::from_millis(300), sending).await.is_err() {
            break;
        }
        sent += 1;
    }
    assert!((5..=10).contains(&sent), "{sent}");
    assert_eq!(hub.data(), [""; 0]);
}

#[tokio::test]
async fn more_than_the_backlog_holds_is_sent_over_one_request_as_the_hub_stores_it() {
    let hub = FakeHub::start(&[]).await;
    let mut feed = Publisher::new(&*hub.url).feed("chat/7").with_backlog(10_000);
    for number in numbers(500) {
        feed.send(number).await.unwrap();
    }
    assert_eq!(feed.finish().await.unwrap().events, 500);
    assert_eq!(hub.data(), numbers(500));
    let posts = targets(&hub).into_iter().filter(|target| target.starts_with("post"));
    assert_eq!(posts.count(), 1);
}

#[tokio::test]
async fn a_stop_is_told_and_what_was_sent_before_is_stored() {
    let hub = FakeHub::start(&[Fate::StopAfter(1)]).await;
    let mut feed = Publisher::new(&*hub.url).feed("chat/7");
    for number in numbers(3) {
        feed.send(number).await.unwrap();
    }
    let FeedError::Stopped(stop) = feed.stopped().await else { panic!("it has failed") };
    assert_eq!(stop.reason.as_deref(), Some("enough"));
    assert!(matches!(feed.send("late").await, Err(FeedError::Stopped(_))));
    let fed = feed.end_with(Outcome::Cancelled, "as asked").await.unwrap();
    assert_eq!((fed.events, fed.position.as_deref()), (3, Some("1-5-5")));
    assert_eq!(hub.data(), numbers(3));
    let last = targets(&hub).pop().unwrap();
    assert_eq!(last, "post /events/chat/7?end=cancelled&reason=as+asked");
}

#[tokio::test]
async fn a_refusal_for_good_ends_the_feed_with_the_words_of_the_hub() {
    let hub = FakeHub::start(&[Fate::Refuse(409)]).await;
    let mut feed = Publisher::new(&*hub.url).feed("chat/7");
    feed.send("0").await.unwrap();
    let refused = PublisherError::Refused { status: 409, words: "refused".into() };
    assert_eq!(feed.stopped().await, FeedError::Publisher(refused.clone()));
    assert_eq!(feed.send("1").await, Err(refused.clone().into()));
    assert_eq!(feed.finish().await, Err(refused.into()));
}

#[tokio::test]
async fn a_token_is_fetched_once_more_after_a_401() {
    let hub = FakeHub::start(&[Fate::Refuse(401), Fate::CutAfter(1), Fate::Refuse(401)]).await;
    let publisher = Publisher::new(&*hub.url).with_bearer_from(|request| {
        ready(Ok::<_, Infallible>(if request.refused { "new" } else { "old" }.to_owned()))
    });
    let mut feed = publisher.feed("chat/7");
    for number in numbers(2) {
        feed.send(number).await.unwrap();
    }
    assert_eq!(feed.finish().await.unwrap().events, 2);
    let refused = FakeHub::start(&[Fate::Refuse(401), Fate::Refuse(401)]).await;
    let mut feed = Publisher::new(&*refused.url)
        .with_bearer_from(|_| ready(Ok::<_, Infallible>("old".to_owned())))
        .feed("chat/7");
    feed.send("0").await.unwrap();
    let error = feed.finish().await.unwrap_err();
    assert!(matches!(error, FeedError::Publisher(PublisherError::Refused { status: 401, .. })));
}

/// The clock is set forward whenever all wait, so nothing here depends on it but the end.
#[tokio::test(start_paused = true)]
async fn a_peer_that_is_silently_gone_is_noticed_and_the_feed_goes_on_with_another_request() {
    let hub = FakeHub::start(&[Fate::Ignore]).await;
    let mut feed = Publisher::new(&*hub.url).with_timeout(Duration::MAX).feed("chat/7");
    feed.send("0").await.unwrap();
    hub.until(|stored| stored.events.len() == 1).await;
    assert_eq!(feed.finish().await.unwrap().events, 1);
    assert_eq!(hub.data(), ["0"]);
}

/// The clock is set forward whenever all wait.
#[tokio::test(start_paused = true)]
async fn a_feed_ends_when_all_is_stored_although_the_response_does_not_arrive() {
    for fate in [Fate::KeepSilent, Fate::SendHead] {
        let hub = FakeHub::start(&[fate]).await;
        let mut feed = Publisher::new(&*hub.url).with_timeout(Duration::MAX).feed("chat/7");
        for number in numbers(3) {
            feed.send(number).await.unwrap();
        }
        let finished = tokio::time::timeout(Duration::from_secs(600), feed.finish()).await;
        assert_eq!(finished.unwrap().unwrap().events, 3, "{fate:?}");
        assert_eq!(hub.data(), numbers(3));
        assert_eq!(hub.stored().repeated, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_beyond_the_time_limit_of_a_feed_is_not_begun() {
    let hub = FakeHub::start(&[Fate::RefuseFor(3600)]).await;
    let mut feed = Publisher::new(&*hub.url).feed("chat/7");
    feed.send("0").await.unwrap();
    let error = feed.finish().await.unwrap_err();
    let FeedError::Publisher(PublisherError::Refused { status, .. }) = error else {
        panic!("{error:?}")
    };
    assert_eq!(status, 503);
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_function_of_the_program_fails_the_feed() {
    let hub = FakeHub::start(&[]).await;
    let panics = |_| -> std::future::Ready<Result<String, Infallible>> { panic!("no token") };
    let mut feed = Publisher::new(&*hub.url).with_bearer_from(panics).feed("chat/7");
    feed.send("0").await.unwrap();
    let finished = tokio::time::timeout(Duration::from_secs(600), feed.finish()).await;
    let error = finished.unwrap().unwrap_err();
    assert!(error.to_string().contains("has panicked"), "{error}");
}

#[tokio::test]
async fn a_redirect_of_a_feed_says_where_it_leads() {
    let hub = FakeHub::start(&[Fate::Redirect]).await;
    let mut feed = Publisher::new(&*hub.url).feed("chat/7");
    feed.send("0").await.unwrap();
    let error = feed.finish().await.unwrap_err();
    assert!(error.to_string().contains("https://elsewhere/events"), "{error}");
}

#[tokio::test]
async fn a_feed_without_a_backlog_sends_one_event_after_the_other() {
    let hub = FakeHub::start(&[]).await;
    let mut feed = Publisher::new(&*hub.url).feed("chat/7").with_backlog(0);
    for number in numbers(3) {
        tokio::time::timeout(PATIENCE, feed.send(number)).await.unwrap().unwrap();
    }
    assert_eq!(feed.finish().await.unwrap().events, 3);
    assert_eq!(hub.data(), numbers(3));
}

#[tokio::test]
async fn a_hub_that_is_away_for_too_long_ends_the_feed() {
    let gone = FakeHub::start(&[]).await.url.clone();
    let mut feed = Publisher::new(gone).with_timeout(Duration::ZERO).feed("chat/7");
    feed.send("0").await.unwrap();
    let error = feed.finish().await.unwrap_err();
    assert!(matches!(error, FeedError::Publisher(PublisherError::Unreachable { .. })), "{error:?}");
}

#[tokio::test]
async fn a_feed_that_sends_nothing_asks_for_nothing() {
    let hub = FakeHub::start(&[]).await;
    let feed = Publisher::new(&*hub.url).feed("chat/7");
    let fed = feed.finish().await.unwrap();
    assert_eq!((fed.events, fed.position), (0, None));
    assert_eq!(targets(&hub), [""; 0]);
}

#[tokio::test]
async fn dropping_a_feed_closes_its_request() {
    let script = Script::play_then(&[("", Then::AwaitClose)]).await;
    let mut feed = Publisher::new(script.url()).feed("chat/7");
    feed.send("0").await.unwrap();
    while script.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    drop(feed);
    script.closed().await;
}

#[tokio::test]
async fn the_state_of_a_topic_has_the_key_of_its_newest_event() {
    let hub = FakeHub::start(&[]).await;
    hub.stored().events.push(("a%20b".into(), String::new()));
    let state = Publisher::new(&*hub.url).topic_state("a b").await.unwrap();
    assert_eq!((state.last_key.as_deref(), state.last_position), (Some("a b"), None));
    assert_eq!(targets(&hub), ["HEAD /events/a%20b"]);
}
