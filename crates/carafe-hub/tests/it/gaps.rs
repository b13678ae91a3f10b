//! Gaps: every stream reports history that is gone.

use carafe_hub::{Format, GapReason, HubLimits, Start, Subscribe};
use carafe_log::MemoryLimits;
use carafe_protocol::{Generation, Position, TopicMatcher};

use crate::fixture::{FORMATS, Rig, after, data, topic};
use crate::listener::{Heard, Listener, Polled};

fn everything() -> Subscribe {
    Subscribe::to(TopicMatcher::any())
}

#[test]
fn history_trimmed_while_a_subscriber_was_behind_is_a_gap() {
    for format in FORMATS {
        let rig = Rig::keeping(3);
        let mut listener = rig.listen_in(format, everything());
        let seen = rig.publish("a", "seen");
        assert_eq!(data(&listener.hear()), ["seen"]);
        rig.count("a", 8);
        let heard = listener.hear();
        assert_eq!(heard[0], rig.gap(&seen, GapReason::Trimmed));
        assert_eq!(data(&heard), ["5", "6", "7"]);
        assert_eq!(heard.len(), 4, "a gap has an ID of its own and needs no position after it");
    }
}

#[test]
fn the_gap_of_an_id_whose_history_was_trimmed_comes_before_the_position() {
    for format in FORMATS {
        let rig = Rig::keeping(3);
        let published = rig.count("a", 8);
        let heard = rig.listen_in(format, everything().from(after(published[2]))).hear();
        assert_eq!(heard[0], rig.gap(&published[2], GapReason::Trimmed));
        assert_eq!(heard[1], Heard::Position(published[4]));
        assert_eq!(data(&heard[2..]), ["5", "6", "7"]);
    }
}

#[test]
fn just_before_the_oldest_there_is_no_gap() {
    let rig = Rig::keeping(3);
    let published = rig.count("a", 8);
    let heard = rig.listen(everything().from(after(published[4]))).hear();
    assert_eq!(heard[0], Heard::Position(published[4]));
    assert_eq!(data(&heard), ["5", "6", "7"]);
}

#[test]
fn a_foreign_id_is_a_gap_and_the_stream_continues_with_the_oldest_event() {
    let rig = Rig::roomy();
    let known = rig.count("a", 3)[1];
    let wrong_nonce = Position { nonce: known.nonce ^ 1, ..known };
    let other_log = Position { generation: Generation::new(known.generation.get() + 1), ..known };
    let upper_case = known.to_string().to_uppercase() + "F";
    let ids =
        [&wrong_nonce.to_string(), &other_log.to_string(), &upper_case, "", "no\n\"position\""];
    for (format, id) in FORMATS.into_iter().flat_map(|format| ids.map(|id| (format, id.to_owned())))
    {
        let mut listener = rig.listen_in(format, everything().from(Start::AfterId(id.clone())));
        let heard = listener.hear();
        assert_eq!(heard[0], rig.gap(&id, GapReason::Foreign));
        assert_eq!(heard[1], Heard::Position(rig.span().start));
        assert_eq!(data(&heard[2..]), ["0", "1", "2"]);
    }
}

#[test]
fn the_gap_of_an_empty_log_has_no_oldest_event() {
    for format in FORMATS {
        let rig = Rig::roomy();
        let heard = rig.listen_in(format, everything().from(Start::AfterId("x".to_owned()))).hear();
        let Heard::Gap(gap) = &heard[0] else { panic!("{heard:?}") };
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
    let heard = listener.hear();
    let second = rig.gap(&published[4], GapReason::Trimmed);
    assert_eq!(heard[..3], [first, Heard::Position(published[4]), second]);
    assert_eq!(data(&heard), ["5", "6", "7"]);
}

#[test]
fn a_client_disconnected_right_after_a_gap_receives_it_once() {
    let rig = Rig::keeping(3);
    let published = rig.count("a", 8);
    let heard = rig.listen_in(Some(Format::Plain), everything().from(after(published[0]))).hear();
    let Heard::Gap(gap) = &heard[0] else { panic!("{heard:?}") };
    let again = rig.listen(everything().from(after(gap.resume_after))).hear();
    assert_eq!(again[0], Heard::Position(gap.resume_after));
    assert_eq!(data(&again), ["5", "6", "7"]);
}

#[test]
fn events_that_the_ring_still_has_are_no_gap_though_the_log_trimmed_them() {
    let rig = Rig::new(MemoryLimits::default().with_entries(1), HubLimits::default());
    let mut listener = rig.listen(everything());
    rig.count("a", 5);
    assert_eq!(data(&listener.hear()), ["0", "1", "2", "3", "4"]);
}

#[test]
fn a_block_that_was_read_is_sent_to_its_end_before_the_gap_after_it() {
    let rig = Rig::keeping(3);
    rig.count("a", 3);
    let mut listener = rig.listen(everything().from(Start::Earliest));
    let begun = [poll_one(&mut listener), poll_one(&mut listener)];
    assert_eq!(data(&begun), ["0"]);
    rig.count("b", 5);
    let heard = listener.hear();
    assert_eq!(data(&heard), ["1", "2", "2", "3", "4"]);
    assert!(matches!(heard[2], Heard::Gap(_)), "{heard:?}");
}

fn poll_one(listener: &mut Listener) -> Heard {
    match listener.poll() {
        Polled::Told(heard) => heard.into_iter().next().unwrap(),
        nothing => panic!("{nothing:?}"),
    }
}

#[test]
fn a_subscriber_of_a_quiet_topic_that_missed_nothing_receives_no_gap() {
    let rig = Rig::keeping(3);
    let mut listener = rig.listen(Subscribe::to(topic("quiet")));
    listener.hear();
    rig.count("busy", 10);
    rig.publish("quiet", "first");
    let heard = listener.hear();
    assert_eq!(data(&heard), ["first"]);
    assert_eq!(heard.len(), 1, "nothing that it asked for was trimmed: {heard:?}");
}

#[test]
fn a_log_that_cannot_be_read_moves_no_stream_back() {
    let rig = Rig::keeping(1000);
    let mut listener = rig.listen(everything());
    let last = rig.count("a", 4)[3];
    assert_eq!(data(&listener.hear()), ["0", "1", "2", "3"]);
    rig.count("b", 4);
    rig.log.fail_next_read();
    let (heard, _) = listener.hear_out();
    assert!(rig.log.reads() > 0);
    assert!(heard.iter().all(|heard| heard.position().offset > last.offset), "again: {heard:?}");
}
