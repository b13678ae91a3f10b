//! What the events of a run carry, so that each can be told from all others.

use std::io::Write;

/// Makes and reads the marks of one run. Events of others are none of its business.
pub(crate) struct Run {
    prefix: Vec<u8>,
    padding: Vec<u8>,
}

/// Which event this is, and when it was due to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) topic: u32,
    /// Counts the topic's events from 1.
    pub(crate) number: u64,
    /// Nanoseconds of this machine's monotonic clock.
    pub(crate) sent: u64,
}

impl Run {
    /// The events of run `id` have about this many bytes of data.
    pub(crate) fn new(id: u32, payload: usize) -> Self {
        Self {
            prefix: format!("carafe-bench {id:08x} ").into_bytes(),
            padding: vec![b'x'; payload],
        }
    }

    /// An event's data: the mark, and what fills it up to its size.
    pub(crate) fn write(&self, mark: &Mark, data: &mut Vec<u8>) {
        let start = data.len();
        data.extend_from_slice(&self.prefix);
        write!(data, "{} {} {} ", mark.topic, mark.number, mark.sent).expect("a Vec takes all");
        let written = (data.len() - start).min(self.padding.len());
        data.extend_from_slice(&self.padding[written..]);
    }

    /// The mark at the front of an event's data, if the event is of this run.
    pub(crate) fn read(&self, data: &[u8]) -> Option<Mark> {
        let mut numbers = data.strip_prefix(&self.prefix[..])?;
        let topic = u32::try_from(number(&mut numbers)?).ok()?;
        Some(Mark { topic, number: number(&mut numbers)?, sent: number(&mut numbers)? })
    }
}

/// Takes a number and the space after it off the front.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number: u64 = 0;
    loop {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        match first {
            b'0'..=b'9' => number = number.checked_mul(10)?.checked_add(u64::from(first - b'0'))?,
            b' ' => return Some(number),
            _ => return None,
        }
    }
}
