//! Gaps: every stream reports history that is gone.

use carafe_hub::{Format, GapReason, HubLimits, OnGap, Start, Subscribe};
use carafe_log::MemoryLimits;
use carafe_protocol::{Generation, Position, TopicMatcher};

use crate::fixture::{FORMATS, Rig, after, data, topic};
use crate::listener::{Item, Listener, Polled};

fn everything() -> Subscribe {
    Subscribe::to(TopicMatcher::any())
}

#[test]
fn history_trimmed_while_a_subscriber_was_behind_is_a_gap() {
    for format in FORMATS {
        let rig = Rig::keeping(3);
        let mut listener = rig.listen_in(format, everything());
        let seen = rig.publish("a", "seen");
        assert_eq!(data(&listener.receive()), ["seen"]);
        rig.count("a", 8);
        let received = listener.receive();
        assert_eq!(received[0], rig.gap(&seen, GapReason::Trimmed));
        assert_eq!(data(&received), ["5", "6", "7"]);
        assert_eq!(received.len(), 4, "a gap has an ID of its own and needs no position after it");
    }
}

#[test]
fn the_gap_of_an_id_whose_history_was_trimmed_comes_before_the_position() {
    for format in FORMATS {
        let rig = Rig::keeping(3);
        let published = rig.count("a", 8);
        let received = rig.listen_in(format, everything().from(after(published[2]))).receive();
        assert_eq!(received[0], rig.gap(&published[2], GapReason::Trimmed));
        assert_eq!(received[1], Item::Position(published[4]));
        assert_eq!(data(&received[2..]), ["5", "6", "7"]);
    }
}

#[test]
fn just_before_the_oldest_there_is_no_gap() {
    let rig = Rig::keeping(3);
    let published = rig.count("a", 8);
    let received = rig.listen(everything().from(after(published[4]))).receive();
    assert_eq!(received[0], Item::Position(published[4]));
    assert_eq!(data(&received), ["5", "6", "7"]);
}

#[test]
fn a_foreign_id_is_a_gap_and_the_stream_continues_with_the_oldest_event() {
    let rig = Rig::roomy();
    let known = rig.count("a", 3)[1];
    let wrong_nonce = Position { nonce: known.nonce ^ 1, ..known };
    let other_log = Position { generation: Generation::new(known.generation.get() + 1), ..known };
    let ids = [&wrong_nonce.to_string(), &other_log.to_string()];
    for (format, id) in FORMATS.into_iter().flat_map(|format| ids.map(|id| (format, id.to_owned())))
    {
        let mut listener = rig.listen_in(format, everything().from(Start::AfterId(id.clone())));
        let received = listener.receive();
        assert_eq!(received[0], rig.gap(&id, GapReason::Foreign));
        assert_eq!(received[1], Item::Position(rig.span().start));
        assert_eq!(data(&received[2..]), ["0", "1", "2"]);
    }
}

#[test]
fn an_id_that_is_no_position_is_a_gap_and_the_stream_continues_with_new_events() {
    let rig = Rig::roomy();
    let newest = rig.count("a", 3)[2];
    let upper_case = newest.to_string().to_uppercase() + "F";
    let ids = ["undefined", "0", "1665666647", &upper_case, "", "no\n\"position\""];
    for (format, id) in FORMATS.into_iter().flat_map(|format| ids.map(|id| (format, id.to_owned())))
    {
        let request = everything().from(Start::AfterId(id.clone()));
        let received = rig.listen_in(format, request).receive();
        let Item::Gap(gap) = &received[0] else { panic!("{received:?}") };
        assert_eq!((&gap.requested, gap.reason), (&id, GapReason::Foreign));
        assert_eq!(gap.resume_after, newest);
        assert_eq!(received[1..], [Item::Position(newest)]);
    }
}

#[test]
fn a_subscriber_may_choose_where_its_stream_continues_after_a_gap() {
    let rig = Rig::keeping(3);
    let published = rig.count("a", 8);
    let other_log = Position { generation: Generation::new(1), ..published[6] };
    let ids = [published[0].to_string(), other_log.to_string(), "0".to_owned()];
    for (format, id) in FORMATS.into_iter().flat_map(|format| ids.clone().map(|id| (format, id))) {
        for (on_gap, expected) in [(OnGap::Live, &[][..]), (OnGap::Earliest, &["5", "6", "7"])] {
            let request = everything().from(Start::AfterId(id.clone())).on_gap(on_gap);
            let received = rig.listen_in(format, request).receive();
            assert!(matches!(&received[0], Item::Gap(gap) if gap.requested == id), "{received:?}");
            assert_eq!(data(&received[2..]), expected, "{id} {on_gap:?}");
        }
    }
    let known = everything().from(after(published[5])).on_gap(OnGap::Live);
    let received = rig.listen(known).receive();
    assert_eq!(data(&received[1..]), ["6", "7"], "without a gap it does not matter");
}

#[test]
fn the_gap_of_an_empty_log_has_no_oldest_event() {
    for format in FORMATS {
        let rig = Rig::roomy();
        let received =
            rig.listen_in(format, everything().from(Start::AfterId("x".to_owned()))).receive();
        let Item::Gap(gap) = &received[0] else { panic!("{received:?}") };
        assert_eq!(gap.oldest, None);
    }
}

#[test]
fn a_gap_that_grows_before_it_is_sent_is_sent_as_one() {
    let rig = Rig::keeping(3);
    let published = rig.count("a", 8);
    let mut listener = rig.listen(everything().from(after(published[0])));
    let first = rig.gap(&published[0], GapReason::Trimmed);
    rig.count("a", 8);
    let received = listener.receive();
    let second = rig.gap(&published[4], GapReason::Trimmed);
    assert_eq!(received[..3], [first, Item::Position(published[4]), second]);
    assert_eq!(data(&received), ["5", "6", "7"]);
}

#[test]
fn a_client_disconnected_right_after_a_gap_receives_it_once() {
    let rig = Rig::keeping(3);
    let published = rig.count("a", 8);
    let received =
        rig.listen_in(Some(Format::Plain), everything().from(after(published[0]))).receive();
    let Item::Gap(gap) = &received[0] else { panic!("{received:?}") };
    let again = rig.listen(everything().from(after(gap.resume_after))).receive();
    assert_eq!(again[0], Item::Position(gap.resume_after));
    assert_eq!(data(&again), ["5", "6", "7"]);
}

#[test]
fn events_that_the_ring_still_has_are_no_gap_though_the_log_trimmed_them() {
    let rig = Rig::new(MemoryLimits::default().with_entries(1), HubLimits::default());
    let mut listener = rig.listen(everything());
    rig.count("a", 5);
    assert_eq!(data(&listener.receive()), ["0", "1", "2", "3", "4"]);
}

#[test]
fn a_block_that_was_read_is_sent_to_its_end_before_the_gap_after_it() {
    let rig = Rig::keeping(3);
    rig.count("a", 3);
    let mut listener = rig.listen(everything().from(Start::Earliest));
    let begun = [poll_one(&mut listener), poll_one(&mut listener)];
    assert_eq!(data(&begun), ["0"]);
    rig.count("b", 5);
    let received = listener.receive();
    assert_eq!(data(&received), ["1", "2", "2", "3", "4"]);
    assert!(matches!(received[2], Item::Gap(_)), "{received:?}");
}

fn poll_one(listener: &mut Listener) -> Item {
    match listener.poll() {
        Polled::Items(received) => received.into_iter().next().unwrap(),
        nothing => panic!("{nothing:?}"),
    }
}

#[test]
fn a_subscriber_of_a_quiet_topic_that_missed_nothing_receives_no_gap() {
    let rig = Rig::keeping(3);
    let mut listener = rig.listen(Subscribe::to(topic("quiet")));
    listener.receive();
    rig.count("busy", 10);
    rig.publish("quiet", "first");
    let received = listener.receive();
    assert_eq!(data(&received), ["first"]);
    assert_eq!(received.len(), 1, "nothing that it asked for was trimmed: {received:?}");
}

#[test]
fn a_log_that_cannot_be_read_moves_no_stream_back() {
    let rig = Rig::keeping(1000);
    let mut listener = rig.listen(everything());
    let last = rig.count("a", 4)[3];
    assert_eq!(data(&listener.receive()), ["0", "1", "2", "3"]);
    rig.count("b", 4);
    rig.log.fail_next_read();
    let (received, _) = listener.hear_out();
    assert!(rig.log.reads() > 0);
    assert!(
        received.iter().all(|received| received.position().offset > last.offset),
        "again: {received:?}"
    );
}
