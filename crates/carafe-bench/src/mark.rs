//! The mark in each event of a run, which identifies it.

use std::io::Write;

use memchr::memmem;

/// Writes and parses the marks of one run. Events of other runs have none of its marks.
pub(crate) struct Run {
    prefix: Vec<u8>,
    padding: Vec<u8>,
}

/// Which event this is, and when it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) topic: u32,
    /// The number of the event in its topic, from 1 on.
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

    /// Writes the data of an event: the mark, and padding up to the payload size.
    pub(crate) fn write(&self, mark: &Mark, data: &mut Vec<u8>) {
        let start = data.len();
        data.extend_from_slice(&self.prefix);
        write!(data, "{} {} {} ", mark.topic, mark.number, mark.sent)
            .expect("writing to a Vec does not fail");
        let written = (data.len() - start).min(self.padding.len());
        data.extend_from_slice(&self.padding[written..]);
    }

    /// Parses the mark at the start of an event's data, or within JSON, in which some servers wrap
    /// the data; `None` for events of others.
    pub(crate) fn read(&self, data: &[u8]) -> Option<Mark> {
        let start = if data.starts_with(b"{") { memmem::find(data, &self.prefix)? } else { 0 };
        let mut numbers = data[start..].strip_prefix(&self.prefix[..])?;
        let topic = u32::try_from(number(&mut numbers)?).ok()?;
        Some(Mark { topic, number: number(&mut numbers)?, sent: number(&mut numbers)? })
    }
}

/// Takes a number and the space after it from the front.
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
