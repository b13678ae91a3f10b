//! Pages: parts of history that together are what a stream delivers.

use carafe_hub::{Access, Delivery, Format, GapReason, Hub, Page, PageLimit, Start, Subscribe};
use carafe_log::{MemoryLimits, Outcome, Publication};
use carafe_protocol::{Position, TopicMatcher};
use futures_util::FutureExt;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fixture::{Rig, after, at_once, no_ring, publication, publish, subscribe, topic};
use crate::listener::{Item, Listener};
use crate::model::Wish;
use crate::script::{ask, check, draft, limits, request};

fn page(hub: &Hub, request: Subscribe, events: usize) -> Page {
    at_once(hub.page(request, limit(events))).unwrap()
}

fn limit(events: usize) -> PageLimit {
    PageLimit { events, ..PageLimit::default() }
}

fn data(page: &Page) -> Vec<&str> {
    page.events.iter().map(|event| event.data()).collect()
}

fn json(page: &Page) -> Value {
    serde_json::from_str(&page.to_json()).unwrap()
}

fn everything() -> Subscribe {
    Subscribe::to(TopicMatcher::any()).from(Start::Earliest)
}

/// The gap and the events of all pages from here on, and the position after them.
fn walk(rig: &Rig, wish: &Wish, start: Start, events: usize) -> (Vec<Item>, Vec<Value>, Position) {
    let (mut items, mut objects, mut start) = (Vec::new(), Vec::new(), start);
    loop {
        let page = page(&rig.hub, request(wish, start), events);
        assert!(page.events.len() <= events);
        assert!(!page.is_full || !page.is_up_to_date);
        // A page also ends before a second gap.
        let goes_on = page.gap.is_some() || !page.events.is_empty();
        assert!(page.is_up_to_date || goes_on, "the next page would be the same");
        items.extend(page.gap.clone().map(Item::Gap));
        objects.extend(json(&page)["events"].as_array().unwrap().clone());
        items.extend(page.events.into_iter().map(|event| Delivery::Entry(event).into()));
        if page.is_up_to_date {
            return (items, objects, page.next);
        }
        start = after(page.next);
    }
}

/// For any history, request and limit.
#[test]
fn pages_have_what_a_stream_delivers_and_name_what_its_envelopes_name() {
    let drafts = prop::collection::vec(draft(), 0..40);
    let script = (limits(), drafts, ask(), any::<bool>(), 1..6_usize);
    check(&script, |((kept, _, limits), drafts, ask, from_earliest, events)| {
        let rig = Rig::new(kept, limits);
        let drafts = drafts.iter().enumerate();
        // Topics that have ended refuse further events.
        let published: Vec<_> = drafts
            .filter_map(|(number, draft)| at_once(rig.hub.publish(draft.publication(number))).ok())
            .map(|appended| appended.position)
            .collect();
        let wish = ask.wish();
        let start = match published.first().filter(|_| !from_earliest) {
            Some(first) => after(*first),
            None => Start::Earliest,
        };
        let Ok(stream) = subscribe(&rig.hub, request(&wish, start.clone())) else { return };
        let (expected, _) = Listener::new(stream, None).hear_out();
        let (items, objects, next) = walk(&rig, &wish, start.clone(), events);
        assert_eq!(items, expected.into_iter().filter(is_of_a_page).collect::<Vec<_>>());
        assert_eq!(objects, envelopes(&rig, &wish, start));
        let late = publish(&rig.hub, publication("a", "late").with_reopening(true));
        let (items, ..) = walk(&rig, &wish, after(next), events);
        assert!(items.iter().all(|item| item.position() == late), "{items:?}");
    });
}

/// Pages have neither positions nor ends and stops.
fn is_of_a_page(item: &Item) -> bool {
    match item {
        Item::Position(_) => false,
        Item::Gap(_) => true,
        Item::Event(said) => {
            said.event_type.as_deref().is_none_or(|text| !text.starts_with("carafe."))
        }
    }
}

/// The data of the events of a stream in the envelope format.
fn envelopes(rig: &Rig, wish: &Wish, start: Start) -> Vec<Value> {
    let frames = subscribe(&rig.hub, request(wish, start)).unwrap().into_frames(Format::Enveloped);
    let mut frames = std::pin::pin!(frames);
    let mut bytes = Vec::new();
    while let Some(Some(chunk)) = futures_util::StreamExt::next(&mut frames).now_or_never() {
        bytes.extend_from_slice(&chunk);
    }
    let text = String::from_utf8(bytes).unwrap();
    let blocks = text.split("\n\n").filter(|block| !block.contains("event: carafe."));
    let lines = blocks.flat_map(str::lines).filter_map(|line| line.strip_prefix("data: "));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_page_is_json_with_its_events_in_envelopes() {
    let rig = Rig::roomy();
    let first = publish(&rig.hub, publication("a", "x\n\u{2028}").with_alternates([topic("b")]));
    let page = page(&rig.hub, everything(), 10);
    let object = json(&page);
    let time = &object["events"][0]["time"];
    assert!(time.as_str().unwrap().ends_with('Z'));
    let event = json!({
        "id": first.to_string(),
        "time": time,
        "topic": "a",
        "alternates": ["b"],
        "data": "x\n\u{2028}",
    });
    let expected =
        json!({"events": [event], "next": first.to_string(), "up_to_date": true, "ended": null});
    assert_eq!(object, expected);
    assert!(!page.to_json().contains(['\u{2028}', '\n']));
}

#[test]
fn a_page_of_nothing_says_where_the_next_one_begins() {
    let rig = Rig::roomy();
    let tail = rig.publish("other", "");
    let page = page(&rig.hub, Subscribe::to(topic("a")).from(Start::Earliest), 10);
    assert_eq!((data(&page), page.next, page.is_up_to_date), (vec![], tail, true));
}

#[test]
fn a_full_page_does_not_say_whether_more_follows_so_that_it_stays_the_same() {
    let rig = Rig::roomy();
    let start = rig.span().start;
    let published = rig.count("a", 2);
    let request = everything().from(after(start));
    let before = page(&rig.hub, request.clone(), 2);
    assert_eq!((before.is_full, before.is_up_to_date, before.next), (true, false, published[1]));
    rig.count("a", 3);
    assert_eq!(page(&rig.hub, request, 2).to_json(), before.to_json());
}

#[test]
fn a_page_has_one_event_at_least_however_large_it_is() {
    let rig = Rig::new(MemoryLimits::default(), no_ring());
    rig.publish("a", "small");
    rig.publish("a", &"x".repeat(200_000));
    rig.publish("a", "last");
    let mut sizes = Vec::new();
    let mut request = everything();
    for _ in 0..3 {
        let page = page(&rig.hub, request.clone(), 10);
        sizes.push(page.events.iter().map(|event| event.data().len()).collect::<Vec<_>>());
        request = request.from(after(page.next));
    }
    assert_eq!(sizes, [vec![5], vec![200_000], vec![4]]);
}

#[test]
fn a_gap_is_reported_by_the_page_after_it() {
    let rig = Rig::keeping(3);
    let published = rig.count("a", 8);
    let page = page(&rig.hub, everything().from(after(published[1])), 10);
    let Some(gap) = &page.gap else { panic!("history was trimmed") };
    assert_eq!(
        (gap.reason, gap.requested.as_str()),
        (GapReason::Trimmed, &*published[1].to_string())
    );
    assert_eq!(data(&page), ["5", "6", "7"]);
    assert_eq!(json(&page)["gap"], serde_json::from_str::<Value>(&gap.to_json()).unwrap());
}

#[test]
fn history_that_is_trimmed_while_a_page_is_read_is_a_gap_of_the_next_page() {
    let rig = Rig::keeping(500);
    rig.count("a", 500);
    rig.log.hold_reads();
    let mut first = at_once(rig.hub.read_page(everything(), limit(1000))).unwrap();
    rig.log.let_reads_go(1);
    assert_eq!((first.wait().now_or_never(), rig.log.reads()), (None, 2));
    rig.count("a", 500);
    rig.log.let_reads_go(usize::from(u16::MAX));
    let first = at_once(first.finish()).unwrap();
    assert!(!first.is_full && !first.is_up_to_date && first.gap.is_none());
    assert!((1..500).contains(&first.events.len()), "one block: {}", first.events.len());
    let second = page(&rig.hub, everything().from(after(first.next)), 1000);
    assert_eq!(second.gap.map(|gap| gap.reason), Some(GapReason::Trimmed));
    assert_eq!((second.events.len(), second.is_up_to_date), (500, true));
}

#[test]
fn a_page_waits_for_the_first_event_that_its_reader_may_see() {
    for rig in [Rig::roomy(), Rig::new(MemoryLimits::default(), no_ring())] {
        let public = Subscribe::to(topic("a")).with_access(Access::public());
        let mut page = at_once(rig.hub.read_page(public, limit(10))).unwrap();
        assert_eq!(page.wait().now_or_never(), None);
        rig.publish("b", "another topic");
        publish(&rig.hub, publication("a", "secret").with_private(true));
        assert_eq!(page.wait().now_or_never(), None);
        rig.publish("a", "one");
        rig.publish("a", "two");
        assert_eq!(page.wait().now_or_never(), Some(()));
        assert_eq!(data(&at_once(page.finish()).unwrap()), ["one", "two"]);
        assert_eq!(rig.hub.subscriptions(), 0);
    }
}

#[test]
fn a_page_that_waits_long_enough_is_empty_and_continues_at_the_tail() {
    let rig = Rig::roomy();
    let mut page = at_once(rig.hub.read_page(Subscribe::to(topic("a")), limit(10))).unwrap();
    assert_eq!(page.wait().now_or_never(), None);
    let tail = rig.publish("b", "another topic");
    let page = at_once(page.finish()).unwrap();
    assert_eq!((data(&page), page.next, page.is_up_to_date), (vec![], tail, true));
}

#[test]
fn a_drain_ends_the_wait_and_the_page_has_everything() {
    let rig = Rig::roomy();
    let mut page = at_once(rig.hub.read_page(Subscribe::to(topic("a")), limit(10))).unwrap();
    assert_eq!(page.wait().now_or_never(), None);
    let drain = rig.hub.drain();
    assert_eq!(drain.end(10), 1);
    assert_eq!(page.wait().now_or_never(), Some(()));
    let page = at_once(page.finish()).unwrap();
    assert_eq!((data(&page), page.is_up_to_date, drain.open()), (vec![], true, 0));
}

#[test]
fn a_page_ends_before_an_event_that_is_erased_while_it_is_read() {
    for rig in [Rig::roomy(), Rig::new(MemoryLimits::default(), no_ring())] {
        for kept in [1, 0] {
            let before = rig.span().tail;
            let last_kept = rig.count("b", kept).last().copied().unwrap_or(before);
            rig.publish("a", "secret");
            let of_both = everything().from(after(before));
            let mut reader = at_once(rig.hub.read_page(of_both.clone(), limit(10))).unwrap();
            assert_eq!(reader.wait().now_or_never(), Some(()));
            at_once(rig.hub.erase(topic("a"))).unwrap();
            rig.publish("b", "new");
            let first = at_once(reader.finish()).unwrap();
            assert_eq!((first.events.len(), first.next), (kept, last_kept));
            assert!(!first.to_json().contains("secret"));
            assert!(!first.is_full && !first.is_up_to_date && first.gap.is_none());
            let rest = page(&rig.hub, of_both.from(after(first.next)), 10);
            assert_eq!(rest.gap.as_ref().map(|gap| gap.reason), Some(GapReason::Erased));
            assert_eq!((data(&rest), rest.is_up_to_date), (vec!["new"], true));
        }
    }
}

#[test]
fn a_page_that_is_dropped_leaves_nothing() {
    let rig = Rig::roomy();
    let mut page = at_once(rig.hub.read_page(Subscribe::to(topic("a")), limit(10))).unwrap();
    assert_eq!((page.wait().now_or_never(), rig.hub.subscriptions()), (None, 1));
    drop(page);
    assert_eq!(rig.hub.subscriptions(), 0);
}

#[test]
fn a_page_with_the_end_of_its_topics_says_how_they_have_ended() {
    let rig = Rig::roomy();
    rig.publish("a", "1");
    rig.publish("b", "1");
    let first = publish(&rig.hub, Publication::end(topic("a"), Outcome::Done));
    let both = || Subscribe::to_all([topic("a").into(), topic("b").into()]).from(Start::Earliest);
    let ended = |request, events| page(&rig.hub, request, events).ended.map(|end| end.position);
    let a = || Subscribe::to(topic("a")).from(Start::Earliest);
    assert_eq!((ended(a(), 9), ended(both(), 9)), (Some(first), None));
    let with_reason = Publication::end(topic("b"), Outcome::Failed).with_data("no beans");
    let second = publish(&rig.hub, with_reason);
    assert_eq!(ended(both(), 9), Some(second));
    assert_eq!(ended(both(), 1), None, "more events follow");
    assert_eq!(ended(everything(), 9), None, "something may always come");
    let object = json(&page(&rig.hub, both(), 9));
    let position = second.to_string();
    let told =
        json!({"topic": "b", "outcome": "failed", "reason": "no beans", "position": position});
    assert_eq!(object["ended"], told);
    assert_eq!(object["events"].as_array().unwrap().len(), 2);
    let behind = json(&page(&rig.hub, both().from(Start::After(second)), 9));
    assert_eq!((&behind["ended"], &behind["events"]), (&told, &json!([])), "a page behind the end");
    assert_eq!(json(&page(&rig.hub, a(), 9))["ended"]["reason"], json!(null));
}

#[test]
fn a_private_end_is_not_told_to_those_who_may_not_see_it() {
    let rig = Rig::roomy();
    rig.publish("a", "1");
    publish(&rig.hub, Publication::end(topic("a"), Outcome::Done).with_private(true));
    let request = |access| Subscribe::to(topic("a")).from(Start::Earliest).with_access(access);
    assert_eq!(page(&rig.hub, request(Access::public()), 9).ended, None);
    assert!(page(&rig.hub, request(Access::all()), 9).ended.is_some());
}
