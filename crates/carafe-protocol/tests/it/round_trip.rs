//! What the encoder writes, the decoder reads.

use std::time::Duration;

use carafe_protocol::{Decoder, Event, EventId, EventType, Received, ReceivedEvent};
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::any_split::{decode, decoder_follows_the_standard};

/// The same cases in every run, so that a failure is found again without its file.
pub(crate) fn fixed_seed(cases: u32) -> ProptestConfig {
    ProptestConfig {
        rng_seed: RngSeed::Fixed(0xCAFE),
        failure_persistence: None,
        cases,
        ..ProptestConfig::default()
    }
}

fn one_line() -> impl Strategy<Value = String> {
    let parts = " |:|: |data: x|id|é|日本|\u{1f600}|\u{feff}|\u{2028}|\u{85}|\t|a";
    let part = prop::sample::select(parts.split('|').collect::<Vec<_>>());
    prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

fn lines() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec!["\n", "\r", "\r\n", "\0"]).prop_map(str::to_owned);
    let part = prop_oneof![one_line(), odd];
    prop_oneof![prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat()), any::<String>()]
}

fn event_type() -> impl Strategy<Value = EventType> {
    one_line().prop_filter_map("not a type", |text| EventType::new(text).ok())
}

fn event_id() -> impl Strategy<Value = EventId> {
    one_line().prop_filter_map("not an ID", |text| EventId::new(text).ok())
}

fn event() -> impl Strategy<Value = Event> {
    let retry = prop_oneof![0..100_000_u64, any::<u64>()].prop_map(Duration::from_millis);
    let (data, comment) = (option::of(lines()), option::of(lines()));
    let parts =
        (data, option::of(event_type()), option::of(event_id()), option::of(retry), comment);
    parts.prop_map(|(data, event_type, id, retry, comment)| {
        let event = data.map_or_else(Event::default, Event::new);
        let event = event_type.into_iter().fold(event, Event::with_type);
        let event = id.into_iter().fold(event, Event::with_id);
        let event = retry.into_iter().fold(event, Event::with_retry);
        comment.into_iter().fold(event, Event::with_comment)
    })
}

/// The items that a receiver must get from `event`, with line breaks normalized to LF.
fn expected_of(event: &Event, last_event_id: &mut String) -> Vec<Received> {
    let normal = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n");
    let mut expected = Vec::new();
    if let Some(comment) = event.comment_text() {
        expected.extend(normal(comment).split('\n').map(|line| Received::Comment(line.to_owned())));
    }
    expected.extend(event.retry_time().map(Received::Retry));
    if let Some(id) = event.id() {
        id.as_str().clone_into(last_event_id);
    }
    expected.extend(event.data().map(|data| {
        Received::Event(ReceivedEvent {
            event_type: event.event_type().map_or("message", EventType::as_str).to_owned(),
            data: normal(data),
            last_event_id: last_event_id.clone(),
        })
    }));
    expected
}

fn pieces<'a>(mut stream: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for size in sizes.iter().cycle() {
        let (piece, rest) = stream.split_at((*size).min(stream.len()));
        pieces.push(piece);
        stream = rest;
        if stream.is_empty() {
            break;
        }
    }
    pieces
}

proptest! {
    #![proptest_config(fixed_seed(512))]

    #[test]
    fn an_event_reads_back_as_written_under_every_single_split(event in event()) {
        let mut last_event_id = String::new();
        let expected = expected_of(&event, &mut last_event_id);
        let bytes = event.to_bytes();
        for cut in 0..=bytes.len() {
            let (first, second) = bytes.split_at(cut);
            let decoded = decode(&mut Decoder::new(), [first, second]);
            prop_assert_eq!(&decoded.received, &expected, "cut at {}", cut);
            prop_assert_eq!(&decoded.last_event_id, &last_event_id, "cut at {}", cut);
        }
        decoder_follows_the_standard(&bytes);
    }

    #[test]
    fn events_read_back_as_written_under_random_splits(
        events in prop::collection::vec(event(), 1..6),
        sizes in prop::collection::vec(1..40_usize, 1..10),
    ) {
        let (mut bytes, mut expected, mut last_event_id) = (Vec::new(), Vec::new(), String::new());
        for event in &events {
            event.encode(&mut bytes);
            expected.extend(expected_of(event, &mut last_event_id));
        }
        let decoded = decode(&mut Decoder::new(), pieces(&bytes, &sizes));
        prop_assert_eq!(decoded.received, expected);
        prop_assert_eq!(decoded.last_event_id, last_event_id);
    }
}
