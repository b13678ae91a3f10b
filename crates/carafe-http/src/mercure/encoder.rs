//! Mercure's format of the event stream: events have their publisher's ID, and what the hub
//! itself reports is a comment, which clients ignore.

use carafe_hub::{Encoder, Gap, event_id};
use carafe_log::Entry;
use carafe_protocol::{Event, Position};

use crate::mercure::version::Version;

/// The type of subscription events of 1.0.
pub(crate) const OF_HUB: &str = "mercure";

/// The encoder of the streams of a version. Clients are sent no positions: a comment could not set
/// their last event ID.
pub(crate) fn of(version: Version) -> &'static Encoder {
    static ZERO: Encoder = Encoder::new(event, expired, gap);
    static ONE: Encoder = Encoder::new(event_of_one, expired, gap);
    match version {
        Version::Zero => &ZERO,
        Version::One => &ONE,
    }
}

fn event(entry: &Entry, block: &mut Vec<u8>) {
    entry.publication.event().encode_with(&event_id(entry), block);
}

/// Clients of 1.0 trust that the hub itself publishes events of its type. Other publishers may use
/// it in 0.x and in Carafe's own API.
fn event_of_one(entry: &Entry, block: &mut Vec<u8>) {
    let published = entry.publication.event();
    let claims_to_be = published.event_type().is_some_and(|kind| kind.as_str() == OF_HUB);
    if !claims_to_be || entry.publication.is_of_hub() {
        return event(entry, block);
    }
    let without_type = Event::new(published.data().unwrap_or_default());
    let retry = published.retry_time();
    retry.into_iter().fold(without_type, Event::with_retry).encode_with(&event_id(entry), block);
}

fn expired(_: Position, block: &mut Vec<u8>) {
    block.extend_from_slice(b": carafe.expired\n");
}

fn gap(gap: &Gap, block: &mut Vec<u8>) {
    // The JSON has one line, so it cannot end the comment.
    block.extend_from_slice(format!(": carafe.gap {}\n", gap.to_json()).as_bytes());
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use carafe_hub::GapReason;
    use carafe_log::{ExternalId, Publication};
    use carafe_protocol::{EventType, Generation, Topic};

    use super::*;

    fn entry() -> Entry {
        Entry {
            position: Position { generation: Generation::new(1), offset: 2, nonce: 3 },
            time: UNIX_EPOCH + Duration::from_millis(1_500),
            publication: Publication::new(Topic::new("a/b").unwrap(), "x\n\"y\"")
                .with_type(EventType::from_static("t"))
                .with_retry(Duration::from_millis(7)),
        }
    }

    #[track_caller]
    fn check(encode: impl FnOnce(&mut Vec<u8>), expected: &str) {
        let mut block = Vec::new();
        encode(&mut block);
        assert_eq!(std::str::from_utf8(&block).unwrap(), expected);
    }

    #[test]
    fn an_event_has_the_publishers_id_or_else_its_position() {
        let fields = "event: t\ndata: x\ndata: \"y\"\n";
        check(
            |block| (of(Version::Zero).event)(&entry(), block),
            &format!("retry: 7\n{fields}id: 000000000001-2-00000003\n\n"),
        );
        let mut named = entry();
        let id = ExternalId::new("urn:a é").unwrap();
        named.publication = named.publication.with_external_id(id);
        check(
            |block| (of(Version::One).event)(&named, block),
            &format!("retry: 7\n{fields}id: urn:a é\n\n"),
        );
    }

    #[test]
    fn what_the_hub_reports_is_a_comment_of_one_line() {
        let (position, encoder) = (entry().position, of(Version::One));
        assert!(encoder.position.is_none(), "a heartbeat is sent instead");
        check(|block| (encoder.expired)(position, block), ": carafe.expired\n");
        let gap = Gap::new("a\r\nb", GapReason::Foreign, position);
        let expected =
            ": carafe.gap {\"requested\":\"a\\r\\nb\",\"oldest\":null,\"reason\":\"foreign\"}\n";
        check(|block| (encoder.gap)(&gap, block), expected);
    }

    #[test]
    fn only_the_hub_has_the_type_of_subscription_events_in_1() {
        let typed = |of_hub| {
            let mut entry = entry();
            let publication = Publication::new(Topic::new("a").unwrap(), "x").with_hub(of_hub);
            entry.publication = publication.with_type(EventType::from_static(OF_HUB));
            entry
        };
        let rest = "data: x\nid: 000000000001-2-00000003\n\n";
        let whole = format!("event: mercure\n{rest}");
        let (zero, one) = (of(Version::Zero), of(Version::One));
        check(|block| (one.event)(&typed(true), block), &whole);
        check(|block| (one.event)(&typed(false), block), rest);
        check(|block| (zero.event)(&typed(false), block), &whole);
    }
}
