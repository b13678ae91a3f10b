//! A commit on its way through an engine.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use bytes::Bytes;

/// A commit that an engine is asked to store.
///
/// ```
/// use carafe_cluster::Message;
///
/// let message = Message::new(1, "payload");
/// assert_ne!(message.id, Message::new(1, "payload").id);
/// assert_eq!(message.checksum, Message::new(1, "payload").checksum);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Tells this commit from all others, and stays the same when it is sent again.
    pub id: MessageId,
    /// The version of the payload's format.
    pub format: u32,
    /// The CRC32C of the payload.
    pub checksum: u32,
    /// The encoded commit.
    pub payload: Bytes,
}

impl Message {
    /// A message with a new ID.
    #[must_use]
    pub fn new(format: u32, payload: impl Into<Bytes>) -> Self {
        let payload = payload.into();
        let checksum = crc32c::crc32c(&payload);
        Self { id: MessageId::random(), format, checksum, payload }
    }
}

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
    /// The checksum that it came with.
    pub checksum: Option<u32>,
    /// Its content.
    pub payload: Bytes,
}

impl Stored {
    /// The payload, if the message is an undamaged commit of a format up to `newest`. All nodes
    /// find the same.
    ///
    /// ```
    /// use std::time::SystemTime;
    ///
    /// use carafe_cluster::{NoCommit, Stored};
    ///
    /// let (time, payload) = (SystemTime::now(), "hello".into());
    /// let stored = Stored { sequence: 1, time, id: None, format: None, checksum: None, payload };
    /// assert!(matches!(stored.commit(1), Err(NoCommit::Foreign(_))));
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
            Some(_) => Ok(&self.payload),
        }
    }
}

/// A message is no commit that can be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoCommit {
    /// It is not from Carafe, or damaged. No node applies it.
    #[error("the message is no commit of Carafe: {0}")]
    Foreign(&'static str),
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

    fn stored(message: Message) -> Stored {
        let Message { id, format, checksum, payload } = message;
        let (format, checksum) = (Some(format), Some(checksum));
        Stored {
            sequence: 1,
            time: SystemTime::UNIX_EPOCH,
            id: Some(id),
            format,
            checksum,
            payload,
        }
    }

    #[test]
    fn a_commit_is_read_back_only_undamaged_and_in_a_known_format() {
        let whole = stored(Message::new(1, "commit"));
        assert_eq!(whole.commit(1), Ok(&Bytes::from("commit")));

        let damaged = Stored { payload: "c0mmit".into(), ..whole.clone() };
        assert!(matches!(damaged.commit(1), Err(NoCommit::Foreign(_))));
        let without = Stored { checksum: None, ..whole.clone() };
        assert!(matches!(without.commit(1), Err(NoCommit::Foreign(_))));

        let newer = stored(Message::new(2, "commit"));
        assert_eq!(newer.commit(1), Err(NoCommit::Newer { format: 2 }));
        assert_eq!(newer.commit(2), Ok(&Bytes::from("commit")));
        let zero = Stored { format: Some(0), ..whole };
        assert!(matches!(zero.commit(1), Err(NoCommit::Foreign(_))));
    }

    #[test]
    fn an_id_is_read_only_in_the_form_in_which_it_is_written() {
        let id = Message::new(1, "").id;
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in
            ["", "ff", "+0000000000000000000000000000000", &"g".repeat(32), &"0".repeat(33)]
        {
            assert_eq!(wrong.parse::<MessageId>(), Err(BadMessageId), "{wrong}");
        }
    }
}
