//! What the decoder owes to any bytes in any split. The fuzz target includes this file, so it leans
//! on no other.

use std::time::Duration;

use carafe_protocol::{Decoder, EventTooLarge, Received, ReceivedEvent};

/// All items of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub(crate) received: Vec<Received>,
    pub(crate) last_event_id: String,
    pub(crate) refused: bool,
}

/// Feeds the pieces one after another, until they end or one is refused.
pub(crate) fn decode<'a>(
    decoder: &mut Decoder,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Decoded {
    let mut received = Vec::new();
    let refused =
        pieces.into_iter().any(|piece| decode_piece(decoder, piece, &mut received).is_err());
    Decoded { received, last_event_id: decoder.last_event_id().to_owned(), refused }
}

fn decode_piece(
    decoder: &mut Decoder,
    mut piece: &[u8],
    received: &mut Vec<Received>,
) -> Result<(), EventTooLarge> {
    while let Some(next) = decoder.decode(&mut piece)? {
        received.push(next);
    }
    assert_eq!(piece, b"", "not consumed, and yet asked for more");
    Ok(())
}

/// The property: in every split, the decoder yields the items of the standard, each as early as
/// possible.
pub(crate) fn decoder_follows_the_standard(stream: &[u8]) {
    let expected = reference(stream, "seed");
    for size in [1, 2, 3, 7, stream.len().max(1)] {
        let mut decoder = Decoder::new().with_last_event_id("seed");
        let outcome = decode(&mut decoder, stream.chunks(size));
        assert_eq!(outcome, expected, "in chunks of {size}");
        resumes_on_the_next_stream(decoder, stream);
    }
    for cut in cuts(stream) {
        tells_each_part_at_once(stream, cut, &expected);
    }
    for limit in [0, 1, 5, 16, 100, stream.len()] {
        limit_is_the_same_in_every_split(stream, limit, &expected);
    }
}

/// Every place to cut a short stream, and some 100 of a long one.
fn cuts(stream: &[u8]) -> impl Iterator<Item = usize> {
    (0..=stream.len()).step_by(1 + stream.len() / 128)
}

/// After each part, all items that the part completes must have been yielded.
fn tells_each_part_at_once(stream: &[u8], cut: usize, expected: &Decoded) {
    let mut decoder = Decoder::new().with_last_event_id("seed");
    let (first, second) = stream.split_at(cut);
    let mut outcome = decode(&mut decoder, [first]);
    assert_eq!(outcome, reference(first, "seed"), "before the cut at {cut}");
    let rest = decode(&mut decoder, [b"", second]);
    outcome.received.extend(rest.received);
    assert_eq!(outcome.received, expected.received, "cut at {cut}");
    assert_eq!(rest.last_event_id, expected.last_event_id, "cut at {cut}");
}

fn resumes_on_the_next_stream(mut decoder: Decoder, stream: &[u8]) {
    let expected = reference(stream, decoder.last_event_id());
    decoder.next_stream();
    let outcome = decode(&mut decoder, [stream]);
    assert_eq!(outcome, expected, "as the second stream");
}

fn limit_is_the_same_in_every_split(stream: &[u8], limit: usize, unlimited: &Decoded) {
    let decoder = Decoder::new().with_last_event_id("seed").with_limit(limit);
    let whole = decode(&mut decoder.clone(), [stream]);
    for size in [1, 3] {
        let pieces = decode(&mut decoder.clone(), stream.chunks(size));
        assert_eq!(pieces, whole, "limit {limit}, in chunks of {size}");
    }
    let so_far = &unlimited.received[..whole.received.len()];
    assert_eq!(whole.received, so_far, "limit {limit}");
    assert!(whole.refused || whole == *unlimited, "limit {limit}");
}

/// The standard's algorithm on a whole stream, clause by clause, by means of text alone.
pub(crate) fn reference(stream: &[u8], seed: &str) -> Decoded {
    let decoded = String::from_utf8_lossy(stream);
    let text = decoded.strip_prefix('\u{feff}').unwrap_or(&decoded);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines: Vec<&str> = text.split('\n').collect();
    lines.pop(); // What follows the last line break is no line yet.

    let mut received = Vec::new();
    let (mut data, mut event_type) = (String::new(), String::new());
    let (mut last_event_id, mut id_buffer) = (seed.to_owned(), seed.to_owned());
    for line in lines {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.is_empty() => {
                last_event_id.clone_from(&id_buffer);
                if let Some(data) = data.strip_suffix('\n') {
                    received.push(Received::Event(ReceivedEvent {
                        event_type: type_or_message(&event_type),
                        data: data.to_owned(),
                        last_event_id: last_event_id.clone(),
                    }));
                }
                data.clear();
                event_type.clear();
            }
            "" => received.push(Received::Comment(value.to_owned())),
            "event" => value.clone_into(&mut event_type),
            "data" => data = data + value + "\n",
            "id" if !value.contains('\0') => value.clone_into(&mut id_buffer),
            "retry" => received.extend(saturating_milliseconds(value).map(Received::Retry)),
            _ => {}
        }
    }
    Decoded { received, last_event_id, refused: false }
}

fn type_or_message(event_type: &str) -> String {
    Some(event_type).filter(|text| !text.is_empty()).unwrap_or("message").to_owned()
}

fn saturating_milliseconds(digits: &str) -> Option<Duration> {
    let mut count = (!digits.is_empty()).then_some(0_u64)?;
    for digit in digits.chars() {
        let digit = u64::from(digit.to_digit(10)?);
        count = count.saturating_mul(10).saturating_add(digit);
    }
    Some(Duration::from_millis(count))
}
