//! Messages of Carafe as messages of NATS, and back.

use std::fmt::Display;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;

use super::info::rfc_3339;
use crate::message::{from_milliseconds, to_milliseconds};
use crate::{EngineError, Message, Stored};

/// The server recognizes a message that is sent again by it.
const ID: &str = "Nats-Msg-Id";
/// The server refuses a message whose subject leads to another stream.
pub(super) const STREAM: &str = "Nats-Expected-Stream";
const FORMAT: &str = "Carafe-Format";
/// In milliseconds since 1970.
const SENT: &str = "Carafe-Sent";
const CHECKSUM: &str = "Carafe-Checksum";

/// More than the headers of a message take, which count towards the server's limit.
pub(super) const HEADER_BYTES: usize = 256;

pub(super) fn headers(message: &Message, stream: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(STREAM, stream);
    headers.insert(ID, message.id.to_string());
    headers.insert(FORMAT, message.format.to_string());
    headers.insert(SENT, to_milliseconds(message.sent).to_string());
    headers.insert(CHECKSUM, format!("{:08x}", message.checksum));
    headers
}

/// Reads a message whose header `name` is what `header` returns.
fn stored<'a>(
    sequence: u64,
    time: SystemTime,
    payload: Bytes,
    header: impl Fn(&'static str) -> Option<&'a str>,
) -> Stored {
    Stored {
        sequence,
        time,
        id: header(ID).and_then(|id| id.parse().ok()),
        format: header(FORMAT).and_then(|format| format.parse().ok()),
        sent: header(SENT).and_then(|sent| sent.parse().ok()).map(from_milliseconds),
        checksum: header(CHECKSUM).and_then(|sum| u32::from_str_radix(sum, 16).ok()),
        payload,
    }
}

/// A message that a consumer has delivered, and its number among those that it has delivered.
pub(super) struct Delivered {
    pub(super) stored: Stored,
    pub(super) delivery: u64,
}

impl Delivered {
    /// The place of the message is in the subject for its acknowledgement.
    pub(super) fn of(message: async_nats::Message) -> Option<Self> {
        let place = Place::parse(message.reply.as_deref()?)?;
        let headers = message.headers.unwrap_or_default();
        let stored = stored(place.sequence, place.time, message.payload, |name| {
            headers.get(name).map(async_nats::HeaderValue::as_str)
        });
        Some(Self { stored, delivery: place.delivery })
    }
}

struct Place {
    sequence: u64,
    delivery: u64,
    time: SystemTime,
}

impl Place {
    /// `$JS.ACK.<stream>.<consumer>.<tries>.<sequence>.<delivery>.<nanoseconds>.<pending>`. A newer
    /// form has domain and account before the stream, and may have more at the end.
    fn parse(subject: &str) -> Option<Self> {
        let tokens: Vec<&str> = subject.strip_prefix("$JS.ACK.")?.split('.').collect();
        let at = match tokens.len() {
            7 => 2,
            9.. => 4,
            _ => return None,
        };
        let number = |index: usize| tokens[at + index].parse::<u64>().ok();
        let time = UNIX_EPOCH + Duration::from_nanos(number(3)?);
        Some(Self { sequence: number(1)?, delivery: number(2)?, time })
    }
}

/// The answer to `STREAM.MSG.GET`.
#[derive(Deserialize)]
pub(super) struct Got {
    message: GotMessage,
}

#[derive(Deserialize)]
struct GotMessage {
    seq: u64,
    #[serde(deserialize_with = "rfc_3339")]
    time: SystemTime,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
}

impl Got {
    pub(super) fn stored(self) -> Result<Stored, EngineError> {
        let decoded = |text: &str| STANDARD.decode(text).map_err(unreadable);
        let (headers, payload) = (decoded(&self.message.hdrs)?, decoded(&self.message.data)?);
        let headers = String::from_utf8(headers).unwrap_or_default();
        Ok(stored(self.message.seq, self.message.time, payload.into(), |name| {
            header(&headers, name)
        }))
    }
}

/// The value of a header in the text of all.
fn header<'a>(headers: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = headers.lines().skip(1).filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim())
}

fn unreadable(error: impl Display) -> EngineError {
    EngineError::Unavailable(format!("the server's answer has no base64: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nats::url::STREAM_NAME;

    #[track_caller]
    fn place(subject: &str) -> (u64, u64, Duration) {
        let place = Place::parse(subject).unwrap();
        (place.sequence, place.delivery, place.time.duration_since(UNIX_EPOCH).unwrap())
    }

    #[test]
    fn the_place_of_a_message_is_read_from_both_forms_of_its_reply() {
        let expected = (42, 7, Duration::from_nanos(1_764_410_400_123_456_789));
        assert_eq!(place("$JS.ACK.EVENTS.node.1.42.7.1764410400123456789.3"), expected);
        assert_eq!(place("$JS.ACK.hub.ACCHASH.EVENTS.node.1.42.7.1764410400123456789.3"), expected);
        assert_eq!(place("$JS.ACK._.HASH.EVENTS.node.1.42.7.1764410400123456789.3.r4nd"), expected);
    }

    #[test]
    fn another_reply_has_no_place() {
        for subject in
            ["", "_INBOX.a.b", "$JS.ACK.EVENTS.node.1.42.7", "$JS.ACK.EVENTS.node.1.x.7.1.3"]
        {
            assert!(Place::parse(subject).is_none(), "{subject}");
        }
    }

    #[test]
    fn a_message_that_was_got_is_the_one_that_was_sent() {
        let message = Message::new(3, UNIX_EPOCH + Duration::from_millis(987), "commit");
        let text = format!(
            "NATS/1.0\r\n{ID}: {}\r\n{FORMAT}: 3\r\n{SENT}: 987\r\n{CHECKSUM}: {:08x}\r\n\r\n",
            message.id, message.checksum
        );
        let (hdrs, data) = (STANDARD.encode(text), STANDARD.encode("commit"));
        let json = format!(
            r#"{{"message":{{"subject":"a","seq":9,"hdrs":"{hdrs}","data":"{data}",
                "time":"1970-01-01T00:00:01.000000002Z"}}}}"#
        );
        let got: Got = serde_json::from_str(&json).unwrap();
        let stored = got.stored().unwrap();
        assert_eq!((stored.sequence, stored.id), (9, Some(message.id)));
        assert_eq!(stored.time, UNIX_EPOCH + Duration::from_nanos(1_000_000_002));
        assert_eq!((stored.sent, stored.commit(3)), (Some(message.sent), Ok(&message.payload)));
    }

    #[test]
    fn the_headers_of_any_message_take_less_than_their_reserve() {
        let (id, format, sum) = (32, u32::MAX.to_string().len(), 8);
        let sent = u64::MAX.to_string().len();
        let lines =
            [(ID, id), (FORMAT, format), (SENT, sent), (CHECKSUM, sum), (STREAM, STREAM_NAME)];
        let text: usize =
            lines.iter().map(|(name, value)| name.len() + value + ": \r\n".len()).sum();
        assert!("NATS/1.0\r\n\r\n".len() + text < HEADER_BYTES);
        let message = Message::new(1, UNIX_EPOCH, "");
        assert_eq!(headers(&message, "EVENTS").iter().count(), lines.len());
    }
}
