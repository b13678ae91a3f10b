//! A commit on its way through an engine.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use carafe_log::BadCommit;

/// How much later than it was sent a message may be stored. No node applies it after that.
///
/// A copy of a message may wait in the connection to a frozen server for any time, and be stored
/// when the engine no longer recognizes its ID. So this is less than the least
/// [duplicate window](crate::DUPLICATE_WINDOW), and more than the time for which a message is sent
/// again. The difference to both is for engines whose servers have clocks that differ.
pub const LATE: Duration = Duration::from_secs(20);

/// The first format whose messages say when they were sent.
const SENT_SINCE: u32 = 2;

/// A commit that an engine is asked to store.
///
/// ```
/// use std::time::SystemTime;
///
/// use carafe_cluster::Message;
///
/// let now = SystemTime::now();
/// let message = Message::new(2, now, "payload");
/// assert_ne!(message.id, Message::new(2, now, "payload").id);
/// assert_eq!(message.checksum, Message::new(2, now, "payload").checksum);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Tells this commit from all others, and stays the same when it is sent again.
    pub id: MessageId,
    /// The version of the payload's format.
    pub format: u32,
    /// When it was sent first, by the engine's clock, in whole milliseconds.
    pub sent: SystemTime,
    /// The CRC32C of the payload.
    pub checksum: u32,
    /// The encoded commit.
    pub payload: Bytes,
}

impl Message {
    /// A message with a new ID, which is sent now.
    #[must_use]
    pub fn new(format: u32, now: SystemTime, payload: impl Into<Bytes>) -> Self {
        let payload = payload.into();
        let checksum = crc32c::crc32c(&payload);
        let sent = from_milliseconds(to_milliseconds(now));
        Self { id: MessageId::random(), format, sent, checksum, payload }
    }
}

/// The milliseconds since 1970 of a time of sending.
pub(crate) fn to_milliseconds(sent: SystemTime) -> u64 {
    let since = sent.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    u64::try_from(since).unwrap_or(u64::MAX)
}

/// The time of sending with these milliseconds since 1970. A time that does not exist is the
/// beginning of 1970, as all nodes find.
pub(crate) fn from_milliseconds(since: u64) -> SystemTime {
    // The same on systems whose times reach less far.
    let since = if since > LAST_MILLISECOND { 0 } else { since };
    UNIX_EPOCH + Duration::from_millis(since)
}

/// In the year 9999.
const LAST_MILLISECOND: u64 = 253_402_300_799_999;

/// A random number that no two messages share.
///
/// ```
/// use carafe_cluster::MessageId;
///
/// let id: MessageId = "000000000000000000000000000000ff".parse()?;
/// assert_eq!(id.to_string(), "000000000000000000000000000000ff");
/// # Ok::<(), carafe_cluster::BadMessageId>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MessageId(u128);

impl MessageId {
    fn random() -> Self {
        Self(rand::random())
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for MessageId {
    type Err = BadMessageId;

    fn from_str(text: &str) -> Result<Self, BadMessageId> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = if is_hex { u128::from_str_radix(text, 16).ok() } else { None };
        number.map(Self).ok_or(BadMessageId)
    }
}

/// The text is no message ID.
///
/// ```
/// assert!("order-7".parse::<carafe_cluster::MessageId>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an ID of a message has 32 hexadecimal digits")]
pub struct BadMessageId;

/// A message of an engine: a commit, or something that another program has put there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its place in the order.
    pub sequence: u64,
    /// When the engine stored it, by the engine's clock. It may be before the time of an earlier
    /// message: the clocks of an engine's servers differ.
    pub time: SystemTime,
    /// The ID that its node gave it.
    pub id: Option<MessageId>,
    /// The version of its format. `None` if it has none that is a number.
    pub format: Option<u32>,
    /// When it was sent, as its node says.
    pub sent: Option<SystemTime>,
    /// The checksum that it came with.
    pub checksum: Option<u32>,
    /// Its content.
    pub payload: Bytes,
}

impl Stored {
    /// The payload, if the message is an undamaged commit of a format up to `newest`, and not
    /// [`LATE`]. All nodes find the same.
    ///
    /// ```
    /// use carafe_cluster::{Engine, MemoryEngine, NoCommit};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let engine = MemoryEngine::new("events");
    /// let sequence = engine.insert_foreign("hello");
    /// let stored = engine.get(sequence).await?.ok_or("it is stored")?;
    /// assert!(matches!(stored.commit(2), Err(NoCommit::Foreign(_))));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When it is no commit, or one that this version cannot read.
    pub fn commit(&self, newest: u32) -> Result<&Bytes, NoCommit> {
        match self.format {
            None | Some(0) => Err(NoCommit::Foreign("it has no version of Carafe's format")),
            Some(format) if format > newest => Err(NoCommit::Newer { format }),
            Some(_) if self.checksum != Some(crc32c::crc32c(&self.payload)) => {
                Err(NoCommit::Foreign("its checksum does not match its content"))
            }
            Some(format) if format < SENT_SINCE => Ok(&self.payload),
            Some(_) => self.check_sent().map(|()| &self.payload),
        }
    }

    fn check_sent(&self) -> Result<(), NoCommit> {
        let sent = self.sent.ok_or(NoCommit::Foreign("it does not say when it was sent"))?;
        // One that is stored before it is sent is from a node whose engine's clock went back.
        let by = self.time.duration_since(sent).unwrap_or_default();
        if by > LATE { Err(NoCommit::Late { by }) } else { Ok(()) }
    }
}

/// A message is no commit that can be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoCommit {
    /// It is not from Carafe, or damaged. No node applies it.
    #[error("the message is no commit of Carafe: {0}")]
    Foreign(&'static str),
    /// It is from Carafe, and cannot be decoded. No node applies it.
    #[error("the message is no commit of Carafe: {0}")]
    Damaged(#[from] BadCommit),
    /// It was stored so long after it was sent that it may be the copy of a commit that the engine
    /// has stored before. No node applies it.
    #[error("the commit was stored {by:?} after it was sent: it may be a copy")]
    Late {
        /// The time between the two.
        by: Duration,
    },
    /// A newer version of Carafe has written it. Whoever leaves it out decides otherwise than the
    /// nodes that read it.
    #[error("the commit has format {format}, which this version cannot read: update this node")]
    Newer {
        /// The version of the format.
        format: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = UNIX_EPOCH;

    fn stored(message: Message) -> Stored {
        let Message { id, format, sent, checksum, payload } = message;
        let (format, sent, checksum) = (Some(format), Some(sent), Some(checksum));
        Stored { sequence: 1, time: NOW, id: Some(id), format, sent, checksum, payload }
    }

    fn message(format: u32, payload: &'static str) -> Message {
        Message::new(format, NOW, payload)
    }

    #[test]
    fn a_commit_is_read_back_only_undamaged_and_in_a_known_format() {
        let whole = stored(message(1, "commit"));
        assert_eq!(whole.commit(1), Ok(&Bytes::from("commit")));

        let damaged = Stored { payload: "c0mmit".into(), ..whole.clone() };
        assert!(matches!(damaged.commit(1), Err(NoCommit::Foreign(_))));
        let without = Stored { checksum: None, ..whole.clone() };
        assert!(matches!(without.commit(1), Err(NoCommit::Foreign(_))));

        let newer = stored(message(2, "commit"));
        assert_eq!(newer.commit(1), Err(NoCommit::Newer { format: 2 }));
        assert_eq!(newer.commit(2), Ok(&Bytes::from("commit")));
        let zero = Stored { format: Some(0), ..whole };
        assert!(matches!(zero.commit(1), Err(NoCommit::Foreign(_))));
    }

    #[test]
    fn a_commit_that_was_stored_long_after_it_was_sent_is_late() {
        let sent = stored(message(2, "commit"));
        let after = |time| Stored { time: NOW + time, ..sent.clone() };
        assert!(after(LATE).commit(2).is_ok());
        let by = LATE + Duration::from_nanos(1);
        assert_eq!(after(by).commit(2), Err(NoCommit::Late { by }));
        let before = Stored { sent: Some(NOW + 2 * LATE), ..sent.clone() };
        assert!(before.commit(2).is_ok(), "the clock of the engine went back");
        let without = Stored { sent: None, ..sent };
        assert!(matches!(without.commit(2), Err(NoCommit::Foreign(_))));
    }

    /// They were written by a version that did not know when they were sent.
    #[test]
    fn commits_of_the_first_format_are_never_late() {
        let time = NOW + 1000 * LATE;
        let old = Stored { sent: None, time, ..stored(message(1, "commit")) };
        assert!(old.commit(2).is_ok());
        assert!(Stored { sent: Some(NOW), ..old }.commit(2).is_ok());
    }

    #[test]
    fn a_time_of_sending_is_in_whole_milliseconds_and_exists() {
        let now = NOW + Duration::from_micros(1_764_410_400_123_456);
        let sent = Message::new(2, now, "").sent;
        assert_eq!(sent, NOW + Duration::from_millis(1_764_410_400_123));
        assert_eq!(from_milliseconds(to_milliseconds(sent)), sent);
        assert_eq!(from_milliseconds(u64::MAX), NOW);
    }

    #[test]
    fn an_id_is_read_only_in_the_form_in_which_it_is_written() {
        let id = message(1, "").id;
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in
            ["", "ff", "+0000000000000000000000000000000", &"g".repeat(32), &"0".repeat(33)]
        {
            assert_eq!(wrong.parse::<MessageId>(), Err(BadMessageId), "{wrong}");
        }
    }
}
