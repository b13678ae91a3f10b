//! Events that are erased.

use carafe_protocol::{EventType, Position, TopicMatcher};

use super::Factory;
use super::helpers::{
    NO_LIMIT, any, append, append_one, before_last, data, find, keyed, named, pattern, positions,
    publication, read_all, settle, supplied, topic, wait,
};
use crate::{
    Access, Append, AppendAt, Erase, ExternalId, Find, Kind, LatestQuery, Log, Outcome,
    Publication, Read, Removed,
};

fn erase(log: &impl Log, of: &str) -> Position {
    append_one(log, Publication::erase(topic(of), Erase::Before))
}

/// The data of all events that can be read.
fn events(log: &impl Read, wanted: &[TopicMatcher]) -> Vec<String> {
    let mut entries = read_all(log, log.span().start.offset, wanted);
    entries.retain(|entry| entry.publication.is_event());
    data(&entries).into_iter().map(ToOwned::to_owned).collect()
}

pub fn an_erased_event_keeps_its_position_and_loses_its_content<F: Factory>() {
    let log = F::roomy();
    let event = publication("a", "secret").with_private(true);
    let event = event.with_type(EventType::new("told").unwrap());
    let at = append(&log, vec![event, publication("b", "other"), named("a", "id")]);
    let erasure = erase(&log, "a");
    let later = append_one(&log, publication("a", "later"));
    let entries = read_all(&log, log.span().start.offset, &any());
    assert_eq!(positions(&entries), [at[0], at[1], at[2], erasure, later]);
    assert_eq!(data(&entries), ["", "other", "", "", "later"]);
    let removed = &entries[0].publication;
    assert_eq!(removed.kind(), Kind::Removed(Removed::Erased));
    assert_eq!((removed.topic(), removed.is_private()), (&topic("a"), true));
    assert_eq!((removed.event_type(), removed.external_id()), (None, None));
    assert_eq!(entries[2].publication.external_id(), None);
    assert!(at.iter().all(|position| find(&log, *position) == Find::Found));
}

pub fn an_event_is_erased_by_any_of_its_topics<F: Factory>() {
    let log = F::roomy();
    append_one(&log, publication("a", "of both").with_alternates([topic("b")]));
    append_one(&log, publication("a", "of one"));
    erase(&log, "b");
    for wanted in [&any()[..], &[topic("a").into()], &[pattern(":one")]] {
        assert_eq!(events(&log, wanted), ["of one"]);
    }
}

pub fn one_event_can_be_erased<F: Factory>() {
    let log = F::roomy();
    let at = append(&log, ["1", "2", "3"].map(|text| publication("a", text)).to_vec());
    append_one(&log, Publication::erase(topic("a"), Erase::One(at[1].offset)));
    assert_eq!(events(&log, &any()), ["1", "3"]);
}

/// What puts events in order was restored: another event may have the offset of a lost one.
pub fn an_event_in_the_place_of_an_erased_one_stays<F: Factory>() {
    let log = F::roomy();
    let at = append(&log, ["1", "2", "3"].map(|text| publication("a", text)).to_vec());
    let erase = |position: Position, nonce| {
        let event = Erase::Event { offset: position.offset, nonce };
        append_one(&log, Publication::erase(topic("a"), event));
    };
    erase(at[0], at[0].nonce ^ 1);
    erase(at[1], at[1].nonce);
    assert_eq!(events(&log, &any()), ["1", "3"]);
    // It is carried out, and erases nothing more.
    settle(&log);
    assert_eq!(events(&log, &any()), ["1", "3"]);
}

pub fn erasing_a_topic_without_events_or_again_is_fine<F: Factory>() {
    let log = F::roomy();
    append_one(&log, publication("a", "first"));
    erase(&log, "nothing");
    assert_eq!(events(&log, &any()), ["first"]);
    erase(&log, "a");
    append_one(&log, publication("a", "second"));
    assert_eq!(events(&log, &any()), ["second"]);
    erase(&log, "a");
    erase(&log, "a");
    assert!(events(&log, &any()).is_empty());
}

pub fn erased_events_are_not_among_the_last<F: Factory>() {
    let log = F::roomy();
    let kept = append(&log, vec![publication("b", "kept"), publication("b", "kept too")]);
    append(&log, (0..300).map(|number| publication("a", &number.to_string())).collect());
    erase(&log, "a");
    for wanted in [&any()[..], &[pattern(":one")], &[topic("a").into(), topic("b").into()]] {
        assert_eq!(before_last(&log, 1, wanted), kept[0]);
        assert_eq!(before_last(&log, 2, wanted), log.span().start);
    }
    assert_eq!(before_last(&log, 1, &[topic("a").into()]), log.span().start);
}

pub fn erased_events_are_not_the_latest<F: Factory>() {
    let log = F::roomy();
    let of_both = publication("a", "of both").with_alternates([topic("b")]);
    let at = append(&log, vec![publication("b", "kept"), publication("c", "kept"), of_both]);
    append(&log, (0..300).map(|number| publication("a", &number.to_string())).collect());
    erase(&log, "a");
    for wanted in [&any()[..], &["a", "b", "c"].map(|of| topic(of).into())] {
        let query = LatestQuery::of(wanted.to_vec()).with_access(Access::all());
        let latest = wait(log.latest(query)).unwrap();
        assert_eq!(latest.offsets, [at[0].offset, at[1].offset]);
    }
    let read = wait(log.read_at(vec![at[0].offset, at[2].offset], NO_LIMIT)).unwrap();
    assert_eq!(data(&read.entries), ["kept", ""]);
}

pub fn an_erased_event_is_not_read_by_its_offset_before_the_erasure_is_carried_out<F: Factory>() {
    let log = F::roomy();
    let events = (0..5000).map(|number| publication("a", &number.to_string())).collect();
    let at = append(&log, events);
    erase(&log, "a");
    let last = at[4900..].iter().map(|position| position.offset).collect();
    let read = wait(log.read_at(last, NO_LIMIT)).unwrap();
    assert_eq!(data(&read.entries), [""; 100]);
}

pub fn an_erased_event_is_not_found_by_its_external_id<F: Factory>() {
    let log = F::roomy();
    append_one(&log, named("a", "id"));
    let other = append_one(&log, named("b", "id"));
    erase(&log, "a");
    let search = |id| wait(log.find_external_id(ExternalId::new(id).unwrap(), Access::all()));
    assert_eq!(search("id"), Ok(Some(other)));
    erase(&log, "b");
    assert_eq!(search("id"), Ok(None));
}

pub fn the_key_of_an_erased_event_is_free_again<F: Factory>() {
    let log = F::roomy();
    let first = append_one(&log, keyed("a", "key").with_alternates([topic("b")]));
    assert_eq!(append_one(&log, keyed("a", "key")), first);
    erase(&log, "b");
    let second = append_one(&log, keyed("a", "key"));
    assert!(second.offset > first.offset);
    assert_eq!(append_one(&log, keyed("a", "key")), second);
    // In one batch, too.
    let erasure = Publication::erase(topic("a"), Erase::Before);
    let batch =
        wait(log.append(vec![erasure.clone(), keyed("a", "key"), erasure, keyed("a", "key")]));
    let repeated: Vec<_> = batch.unwrap().iter().map(|appended| appended.repeated).collect();
    assert_eq!(repeated, [false; 4]);
}

pub fn the_end_of_an_erased_topic_stays_known_without_its_reason<F: Factory>() {
    let log = F::roomy();
    append_one(&log, publication("a", "event"));
    let end = Publication::end(topic("a"), Outcome::Failed).with_data("reason");
    let at = append_one(&log, end);
    erase(&log, "a");
    assert_eq!(log.topic_state(&topic("a")).end.map(|end| end.position), Some(at));
    let entries = read_all(&log, log.span().start.offset, &any());
    assert_eq!(entries[1].publication.kind(), Kind::End(Outcome::Failed));
    assert_eq!(data(&entries), ["", "", ""]);
}

pub fn a_follower_that_comes_later_gets_nothing_erased<F: Factory>() {
    let log = F::roomy();
    append(&log, vec![publication("a", "secret"), publication("b", "other")]);
    erase(&log, "a");
    let followed = log.follow(1 << 20, Box::new(|_| {}));
    assert_eq!(data(&followed.recent), ["", "other", ""]);
}

pub fn supplied_erasures_erase<F: Factory>() {
    let log = F::supplied();
    append_one(&log, publication("a", "secret"));
    let erasure = supplied(&log, 7, Publication::erase(topic("a"), Erase::Before));
    wait(log.append_at(vec![erasure])).unwrap();
    assert!(events(&log, &any()).is_empty());
}
