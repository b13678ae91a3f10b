//! The place of an entry in its log, and its form as an event ID.

use std::fmt;
use std::str::FromStr;

/// The number of an entry in its log. Offsets increase and may have gaps. 0 is before the first
/// entry.
///
/// ```
/// use carafe_protocol::{Offset, Position};
///
/// let position: Position = "5f0c9a3be812-42-0badcafe".parse()?;
/// let offset: Offset = position.offset;
/// assert_eq!(offset, 42);
/// # Ok::<(), carafe_protocol::BadPosition>(())
/// ```
pub type Offset = u64;

/// A random number that is stored with an entry. If a failover loses the tail of a log, another
/// entry may get the same offset; the nonce distinguishes the two.
///
/// ```
/// use carafe_protocol::{Nonce, Position};
///
/// let position: Position = "5f0c9a3be812-42-0badcafe".parse()?;
/// let nonce: Nonce = position.nonce;
/// assert_eq!(nonce, 0x0bad_cafe);
/// # Ok::<(), carafe_protocol::BadPosition>(())
/// ```
pub type Nonce = u32;

/// Identifies one life of a log. A new generation begins when the log may have lost entries that
/// clients have seen, such as after a crash.
///
/// ```
/// use carafe_protocol::Generation;
///
/// assert_eq!(Generation::new(7).to_string(), "000000000007");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(u64);

impl Generation {
    /// Uses the low 48 bits of `random`, which are 12 hexadecimal digits on the wire.
    #[must_use]
    pub const fn new(random: u64) -> Self {
        // 12 digits on the wire: with 48 random bits, two lives of a log do not meet by chance.
        Self(random & ((1 << 48) - 1))
    }

    /// The generation as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}", self.0)
    }
}

/// The place of an entry in its log. It is the event ID on the wire, in the form
/// `<generation>-<offset>-<nonce>`.
///
/// Clients treat a position as opaque and send it back unchanged. A position reveals how many
/// entries the log has stored, and nothing else.
///
/// ```
/// use carafe_protocol::Position;
///
/// let position: Position = "5f0c9a3be812-42-0badcafe".parse()?;
/// assert_eq!(position.offset, 42);
/// assert_eq!(position.to_string(), "5f0c9a3be812-42-0badcafe");
/// # Ok::<(), carafe_protocol::BadPosition>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The life of the log that the entry belongs to.
    pub generation: Generation,
    /// The number of the entry in that log.
    pub offset: Offset,
    /// The entry's own random number; 0 before the first entry.
    pub nonce: Nonce,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{:08x}", self.generation, self.offset, self.nonce)
    }
}

/// The text is not a position.
///
/// ```
/// use carafe_protocol::{BadPosition, Position};
///
/// assert_eq!("42".parse::<Position>(), Err(BadPosition));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a position: send back an event ID exactly as it was received")]
pub struct BadPosition;

impl FromStr for Position {
    type Err = BadPosition;

    /// Accepts only the form that [`Display`](fmt::Display) writes, so that each position has one
    /// spelling.
    fn from_str(text: &str) -> Result<Self, BadPosition> {
        let position = parse(text).ok_or(BadPosition)?;
        // `from_str_radix` and `parse` also accept a sign, capitals and leading zeros.
        if position.to_string() != text {
            return Err(BadPosition);
        }
        Ok(position)
    }
}

fn parse(text: &str) -> Option<Position> {
    // `splitn` leaves further dashes in the last part, which then is no number.
    let mut parts = text.splitn(3, '-');
    Some(Position {
        generation: Generation::new(u64::from_str_radix(parts.next()?, 16).ok()?),
        offset: parts.next()?.parse().ok()?,
        nonce: Nonce::from_str_radix(parts.next()?, 16).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_as_written() {
        let position =
            Position { generation: Generation::new(u64::MAX), offset: u64::MAX, nonce: 0xbad };
        let text = position.to_string();
        assert_eq!(text, "ffffffffffff-18446744073709551615-00000bad");
        assert_eq!(text.parse(), Ok(position));
    }

    #[test]
    fn a_position_has_one_spelling() {
        for text in [
            "",
            "-",
            "--",
            "1-1-1",
            "5F0C9A3BE812-42-0badcafe",
            "5f0c9a3be812-042-0badcafe",
            "5f0c9a3be812-+42-0badcafe",
            "5f0c9a3be812-42-0badcafe ",
            "5f0c9a3be812-42-0badcafe-1",
            "15f0c9a3be812-42-0badcafe",
            "5f0c9a3be812-18446744073709551616-0badcafe",
            "5f0c9a3be812-42",
            "é-1-2",
        ] {
            assert_eq!(text.parse::<Position>(), Err(BadPosition), "{text:?}");
        }
    }
}
