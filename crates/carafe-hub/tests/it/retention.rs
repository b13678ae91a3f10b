//! Events that are shown for a shorter time than the log keeps them.

use std::time::{Duration, SystemTime};

use carafe_hub::{Gap, GapReason, HubLimits, Retention, Start, Subscribe};
use carafe_log::{Entry, MemoryLimits, Outcome, Publication};
use carafe_protocol::{Position, TopicPattern};

use crate::fixture::{
    FORMATS, Rig, after, data, exact, no_ring, pattern, publication, publish, topic,
};
use crate::listener::{Item, Polled};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// Hubs that deliver from the ring, and from the log.
fn rigs() -> [Rig; 2] {
    let rule = |topics, age| Retention::new(TopicPattern::new(topics).unwrap(), age);
    [HubLimits::default(), no_ring()].map(|limits| {
        let retention = vec![rule("brief/long", 3 * HOUR), rule("brief/*", HOUR)];
        Rig::new(MemoryLimits::default(), limits.with_retention(retention))
    })
}

impl Rig {
    /// An event that was published some hours ago, with its topics.
    pub(crate) fn was_published(&self, hours: u32, topics: &[&str], data: &str) -> Position {
        let tail = self.span().tail;
        let position = Position { offset: tail.offset + 1, nonce: 1, ..tail };
        let alternates = topics[1..].iter().map(|text| topic(text));
        let publication = publication(topics[0], data).with_alternates(alternates);
        self.supply([Entry { position, time: SystemTime::now() - hours * HOUR, publication }]);
        position
    }
}

#[test]
fn a_client_that_resumes_before_expired_events_receives_one_gap_and_then_the_rest() {
    for rig in rigs() {
        let start = rig.span().start;
        let oldest = rig.was_published(5, &["other"], "not asked for");
        rig.was_published(4, &["brief/a"], "over");
        let last_over = rig.was_published(2, &["brief/b"], "over too");
        let kept = rig.was_published(0, &["brief/a"], "kept");
        for format in FORMATS {
            let request = Subscribe::to(pattern("brief/*")).from(after(start));
            let received = rig.listen_in(format, request).receive();
            let gap =
                Gap::new(start.to_string(), GapReason::Trimmed, last_over).with_oldest(oldest);
            assert_eq!(received[0], Item::Position(start));
            assert_eq!(received[1], Item::Gap(gap));
            assert_eq!(data(&received), ["kept"]);
            assert_eq!(received.last().unwrap().position(), kept);
            let resumed = rig
                .listen_in(format, Subscribe::to(pattern("brief/*")).from(after(last_over)))
                .receive();
            assert_eq!(resumed[0], Item::Position(last_over), "after it, nothing is missing");
        }
    }
}

#[test]
fn a_gap_is_sent_although_nothing_follows_it() {
    for rig in rigs() {
        let start = rig.span().start;
        let over = rig.was_published(2, &["brief/a"], "over");
        let received = rig.listen(Subscribe::to(exact("brief/a")).from(after(start))).receive();
        assert_eq!(received.len(), 2, "{received:?}");
        assert!(matches!(&received[1], Item::Gap(gap) if gap.resume_after == over), "{received:?}");
    }
}

#[test]
fn a_gap_that_continues_in_trimmed_history_is_sent_as_one() {
    let retention = vec![Retention::new(TopicPattern::new("brief/*").unwrap(), HOUR)];
    let kept = MemoryLimits::default().with_entries(4);
    let rig = Rig::new(kept, no_ring().with_retention(retention));
    let shown = rig.was_published(0, &["brief/a"], "shown");
    rig.was_published(2, &["brief/a"], "over");
    rig.publish("other", "what the ring holds");
    let mut listener = rig.listen(Subscribe::to(exact("brief/a")).from(Start::Earliest));
    listener.poll();
    assert!(matches!(listener.poll(), Polled::Items(received) if data(&received) == ["shown"]));
    rig.count("brief/a", 6);
    let received = listener.receive();
    assert_eq!(received[0], rig.gap(&shown, GapReason::Trimmed));
    assert_eq!(data(&received), ["2", "3", "4", "5"]);
}

#[test]
fn a_stream_from_the_earliest_event_has_no_gap_for_expired_events() {
    for rig in rigs() {
        rig.was_published(2, &["brief/a"], "over");
        rig.was_published(0, &["brief/a"], "kept");
        for start in [Start::Earliest, Start::Last(5)] {
            let received = rig.listen(Subscribe::to(exact("brief/a")).from(start)).receive();
            assert!(matches!(received[0], Item::Position(_)));
            assert_eq!((received.len(), data(&received)), (2, vec!["kept"]));
        }
    }
}

#[test]
fn a_rule_that_counts_from_the_end_shows_everything_until_then() {
    let topics = TopicPattern::new("chat/*").unwrap();
    let rule = Retention::new(topics, 2 * HOUR).with_after_end(true);
    for limits in [HubLimits::default(), no_ring()] {
        let rig = Rig::new(MemoryLimits::default(), limits.with_retention(vec![rule.clone()]));
        let shown = |name: &str| {
            let request = Subscribe::to(exact(name)).from(Start::Earliest);
            data(&rig.listen(request).hear_out().0)
                .into_iter()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let end = |hours: u32, name: &str| {
            let tail = rig.span().tail;
            let position = Position { offset: tail.offset + 1, nonce: 1, ..tail };
            let publication = Publication::end(topic(name), Outcome::Done);
            let time = SystemTime::now() - hours * HOUR;
            rig.supply([Entry { position, time, publication }]);
        };
        for name in ["chat/open", "chat/just", "chat/long"] {
            rig.was_published(9, &[name], "text");
        }
        end(1, "chat/just");
        end(3, "chat/long");
        assert_eq!(shown("chat/open"), ["text"]);
        assert_eq!(shown("chat/just").len(), 2, "and the end");
        assert_eq!(shown("chat/long").len(), 1, "only the end");
        publish(&rig.hub, publication("chat/long", "again").with_reopening(true));
        assert_eq!(shown("chat/long").len(), 3, "its history is shown until it ends again");
    }
}

#[test]
fn the_first_matching_rule_of_a_topic_applies_and_any_topic_may_show_an_event() {
    for rig in rigs() {
        rig.was_published(9, &["other"], "has no rule");
        rig.was_published(2, &["brief/long"], "has a rule of its own");
        rig.was_published(2, &["brief/a", "brief/b"], "over under both");
        rig.was_published(2, &["brief/a", "other"], "shown by the other");
        rig.was_published(4, &["brief/long"], "over under its own rule");
        let received = rig.listen(Subscribe::to(pattern("*")).from(Start::Earliest)).receive();
        assert_eq!(data(&received), ["has no rule", "has a rule of its own", "shown by the other"]);
    }
}
