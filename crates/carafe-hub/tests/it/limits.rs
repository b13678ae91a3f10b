//! Limits, and what a removed subscription leaves behind.

use std::sync::{Arc, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use carafe_hub::{
    Client, Hub, HubLimits, Start, Subscribe, SubscribeError, TooManyComplexPatterns,
};
use carafe_log::MemoryLimits;
use carafe_protocol::{Position, TopicMatcher};
use futures_util::StreamExt;

use crate::fixture::{FORMATS, Rig, after, data, exact, no_ring, pattern, subscribe};

/// More topics than a hub tests for a new pattern: topics that are left behind would show.
const MANY: usize = 10_000;

fn rig(limits: HubLimits) -> Rig {
    Rig::new(MemoryLimits::default(), limits)
}

fn refused(rig: &Rig, matchers: impl IntoIterator<Item = TopicMatcher>) -> SubscribeError {
    subscribe(&rig.hub, Subscribe::to_all(matchers)).err().unwrap()
}

#[test]
fn a_subscription_may_have_a_limited_number_of_matchers() {
    let rig = rig(HubLimits::default().with_matchers(2));
    let (a, b, c) = (exact("a"), exact("b"), pattern("c/*"));
    let three = [a.clone(), b.clone(), c.clone()];
    assert_eq!(refused(&rig, three), SubscribeError::TooManyMatchers { limit: 2 });
    assert_eq!(rig.hub.subscriptions(), 0);
    let _kept = rig.listen(Subscribe::to_all([a.clone(), c.clone(), a, c]));
    assert_eq!(rig.hub.subscriptions(), 1, "what is asked for twice counts once");
}

fn no_more_complex(limit: usize) -> SubscribeError {
    TooManyComplexPatterns { limit }.into()
}

#[test]
fn distinct_complex_patterns_are_limited_until_one_is_no_longer_used() {
    let rig = rig(HubLimits::default().with_complex_patterns(2));
    let first = rig.listen(Subscribe::to(pattern("a-:id")));
    let _second = rig.listen(Subscribe::to(pattern("b-:id")));
    let same = rig.listen(Subscribe::to_all([
        pattern("a-:id"),
        pattern("b-:id"),
        pattern("simple/:id/*"),
    ]));
    assert_eq!(refused(&rig, [pattern("c-:id")]), no_more_complex(2));
    drop(first);
    assert_eq!(refused(&rig, [pattern("c-:id")]), no_more_complex(2), "another still asks for it");
    drop(same);
    let mut third = rig.listen(Subscribe::to(pattern("c-:id")));
    rig.publish("c-1", "recovered");
    assert_eq!(data(&third.receive()), ["recovered"]);
}

#[test]
fn one_client_may_use_its_share_of_the_complex_patterns() {
    let rig =
        rig(HubLimits::default().with_complex_patterns(3).with_complex_patterns_per_client(2));
    let ask = |client, texts: &[&str]| {
        let request =
            Subscribe::to_all(texts.iter().map(|text| pattern(text))).by(Client::of(client));
        subscribe(&rig.hub, request).err()
    };
    let by = |client, text| rig.listen(Subscribe::to(pattern(text)).by(Client::of(client)));
    let (first, _second, _again) = (by("one", "a-:id"), by("one", "b-:id"), by("one", "b-:id"));
    let over = Some(SubscribeError::TooManyComplexPatternsOfClient { limit: 2 });
    assert_eq!(ask("one", &["c-:id"]), over);
    assert_eq!(ask("one", &["a-:id", "b-:id", "simple/:id"]), None, "it has these");
    assert_eq!(ask("other", &["c-:id"]), None);
    assert_eq!(ask("other", &["a-:id", "c-:id"]), None);
    let never = Some(SubscribeError::TooComplex { limit: 2 });
    assert_eq!(ask("other", &["a-:id", "b-:id", "c-:id"]), never);
    drop(first);
    assert_eq!(ask("one", &["c-:id"]), None);
}

#[test]
fn a_rejected_subscription_leaves_nothing() {
    let rig = rig(HubLimits::default().with_complex_patterns(2));
    let other = rig.listen(Subscribe::to(pattern("c-:id")));
    for _ in 0..3 {
        let several = [exact("a"), pattern("a/*"), pattern("a-:id"), pattern("b-:id")];
        assert_eq!(refused(&rig, several), no_more_complex(2));
        assert_eq!(rig.hub.subscriptions(), 1);
    }
    drop(other);
    let mut listener = rig.listen(Subscribe::to(pattern("b-:id")));
    rig.publish("a", "");
    rig.publish("b-1", "");
    assert_eq!((listener.receive().len(), rig.log.reads()), (2, 0));
}

#[test]
fn a_dropped_subscription_is_removed_and_wakes_nothing() {
    let rig = Rig::roomy();
    let mut listeners: Vec<_> = (0..10).map(|_| rig.listen(Subscribe::to(exact("a")))).collect();
    listeners.iter_mut().for_each(|listener| drop(listener.receive()));
    listeners.drain(..5);
    assert_eq!(rig.hub.subscriptions(), 5);
    rig.publish("a", "");
    assert!(listeners.iter().all(|listener| listener.wakes() == 1));
    listeners.clear();
    assert_eq!(rig.hub.subscriptions(), 0);
    rig.publish("a", "without a subscriber");
}

#[test]
fn a_subscription_that_reuses_an_id_has_nothing_of_the_one_before() {
    let rig = Rig::roomy();
    let mut old = rig.listen(Subscribe::to_all([exact("a"), pattern("a*b")]));
    old.receive();
    drop(old);
    let mut new = rig.listen(Subscribe::to(exact("b")));
    new.receive();
    rig.publish("a", "");
    rig.publish("axb", "");
    assert_eq!((new.wakes(), new.receive()), (0, vec![]));
}

/// A waker that uses the hub when it is dropped, as the waker of a task with a stream of its own
/// does.
struct Inquisitive(Hub);

impl Wake for Inquisitive {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Inquisitive {
    fn drop(&mut self) {
        let _ = self.0.subscriptions();
    }
}

#[test]
fn a_waker_may_use_the_hub_when_it_is_dropped() {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        let hub = Rig::roomy().hub;
        let mut subscription = subscribe(&hub, Subscribe::to(exact("a"))).unwrap();
        let waker = Waker::from(Arc::new(Inquisitive(hub)));
        while subscription.poll_next_unpin(&mut Context::from_waker(&waker)).is_ready() {}
        drop(waker);
        drop(subscription);
        done.send(()).unwrap();
    });
    assert_eq!(is_done.recv_timeout(Duration::from_secs(5)), Ok(()));
}

/// Whether the first subscription of a new pattern is served from the ring, as it is when few
/// topics are known.
#[track_caller]
fn check_few_topics_are_known(rig: &Rig, position: Position, expected: &[&str]) {
    let before = rig.log.reads();
    let mut listener = rig.listen(Subscribe::to(pattern("known/:topic")).from(after(position)));
    assert_eq!(data(&listener.receive()), expected);
    assert_eq!(rig.log.reads() - before, 0, "topics were left behind");
}

#[test]
fn topics_and_patterns_without_subscriptions_leave_nothing() {
    let rig = rig(HubLimits::default().with_complex_patterns(1));
    let position = rig.publish("known/0", "");
    rig.publish("known/1", "1");
    for n in 0..MANY {
        // Two `*` before the end are complex and need no regular expression. So many of those would
        // take a while.
        let patterns = [format!("p/{n}/*"), format!("*/{n}/*/p")].map(|text| pattern(&text));
        let several = [exact(&format!("t/{n}"))].into_iter().chain(patterns);
        let _left = subscribe(&rig.hub, Subscribe::to_all(several)).unwrap();
    }
    assert_eq!(rig.hub.subscriptions(), 0);
    check_few_topics_are_known(&rig, position, &["1"]);
}

#[test]
fn topics_whose_events_were_evicted_leave_nothing() {
    let rig = rig(no_ring());
    for n in 0..MANY {
        rig.publish(&format!("t/{n}"), "");
    }
    let position = rig.publish("known/0", "");
    rig.publish("known/1", "1");
    check_few_topics_are_known(&rig, position, &["1"]);
}

#[test]
fn the_ring_holds_about_its_limit_however_much_is_published() {
    for format in FORMATS {
        let rig = rig(HubLimits::default().with_ring_bytes(10_000));
        let mut encoding = rig.listen_in(format, Subscribe::to(TopicMatcher::any()));
        let published: Vec<_> =
            (0..1000).map(|n| (rig.publish("a", &n.to_string()), encoding.receive()).0).collect();
        let reads = |back: usize| {
            let before = rig.log.reads();
            let start = after(published[published.len() - 1 - back]);
            assert_eq!(rig.listen(Subscribe::to(exact("a")).from(start)).receive().len(), 1 + back);
            rig.log.reads() - before
        };
        assert_eq!(reads(10), 0, "so many are held");
        assert_ne!(reads(100), 0, "and not so many");
    }
}

#[test]
fn a_new_pattern_over_very_many_topics_reads_the_log_and_then_is_live() {
    let rig = Rig::roomy();
    let expected: Vec<_> = (0..MANY).map(|n| n.to_string()).collect();
    for n in &expected {
        rig.publish(&format!("t/{n}"), n);
    }
    let request = || Subscribe::to(pattern("t/:n"));
    let mut first = rig.listen(request().from(Start::Earliest));
    assert_eq!(data(&first.receive()), expected);
    let reads = rig.log.reads();
    assert!(reads > 0, "looking through all topics would hold up everybody");
    let mut second = rig.listen(request());
    rig.publish("t/live", "live");
    assert_eq!((data(&first.receive()), data(&second.receive())), (vec!["live"], vec!["live"]));
    assert_eq!(rig.log.reads(), reads);
}
