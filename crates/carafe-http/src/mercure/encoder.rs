//! Mercure's format of the event stream: events have their publisher's ID, and what the hub
//! itself reports is a comment, which clients ignore.

use carafe_hub::{Encoder, event_id};

/// Encodes the streams of Mercure's clients. They are sent no positions: a comment could not
/// set their last event ID.
pub(crate) static ENCODER: Encoder = Encoder::new(
    |entry, block| entry.publication.event().encode_with(&event_id(entry), block),
    |_, block| block.extend_from_slice(b": carafe.expired\n"),
    |gap, block| {
        // The JSON has one line, so it cannot end the comment.
        block.extend_from_slice(format!(": carafe.gap {}\n", gap.to_json()).as_bytes());
    },
);

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use carafe_hub::{Gap, GapReason};
    use carafe_log::{Entry, ExternalId, Publication};
    use carafe_protocol::{EventType, Generation, Position, Topic};

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
            |block| (ENCODER.event)(&entry(), block),
            &format!("retry: 7\n{fields}id: 000000000001-2-00000003\n\n"),
        );
        let mut named = entry();
        let id = ExternalId::new("urn:a é").unwrap();
        named.publication = named.publication.with_external_id(id);
        check(
            |block| (ENCODER.event)(&named, block),
            &format!("retry: 7\n{fields}id: urn:a é\n\n"),
        );
    }

    #[test]
    fn what_the_hub_reports_is_a_comment_of_one_line() {
        let position = entry().position;
        assert!(ENCODER.position.is_none(), "a heartbeat is sent instead");
        check(|block| (ENCODER.expired)(position, block), ": carafe.expired\n");
        let gap = Gap::new("a\r\nb", GapReason::Foreign, position);
        let expected =
            ": carafe.gap {\"requested\":\"a\\r\\nb\",\"oldest\":null,\"reason\":\"foreign\"}\n";
        check(|block| (ENCODER.gap)(&gap, block), expected);
    }
}
