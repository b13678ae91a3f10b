//! Decodes the framing of a response body.

use memchr::memchr;

/// The state of the decoder.
pub(crate) enum Framing {
    /// The body ends with the connection.
    Plain,
    Chunked(Chunk),
}

/// A part of a chunked body (RFC 9112, section 7.1).
pub(crate) enum Chunk {
    Size(u64),
    Extension(u64),
    Data(u64),
    AfterData,
    /// After the last chunk.
    Ended,
}

/// The framing is invalid.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadFraming;

impl Framing {
    pub(crate) fn chunked() -> Self {
        Self::Chunked(Chunk::Size(0))
    }

    /// Whether the body is complete.
    pub(crate) fn is_ended(&self) -> bool {
        matches!(self, Self::Chunked(Chunk::Ended))
    }

    /// Takes the next part of the body from `input`; `None` when the input is consumed.
    pub(crate) fn next<'a>(
        &mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<&'a [u8]>, BadFraming> {
        let Self::Chunked(chunk) = self else {
            return Ok(Some(std::mem::take(input)).filter(|body| !body.is_empty()));
        };
        while !input.is_empty() {
            if let Chunk::Data(left) = *chunk {
                return Ok(Some(take_data(chunk, left, input)));
            }
            chunk.step(input)?;
        }
        Ok(None)
    }
}

fn take_data<'a>(chunk: &mut Chunk, left: u64, input: &mut &'a [u8]) -> &'a [u8] {
    let there = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
    let (data, rest) = input.split_at(there);
    *input = rest;
    let left = left - there as u64;
    *chunk = if left == 0 { Chunk::AfterData } else { Chunk::Data(left) };
    data
}

impl Chunk {
    /// Parses bytes that are framing, not data.
    fn step(&mut self, input: &mut &[u8]) -> Result<(), BadFraming> {
        match *self {
            Self::Size(size) => *self = read_size(size, input)?,
            Self::Extension(size) => {
                let line_end = memchr(b'\n', input);
                *input = &input[line_end.map_or(input.len(), |end| end + 1)..];
                if line_end.is_some() {
                    *self = if size == 0 { Self::Ended } else { Self::Data(size) };
                }
            }
            Self::AfterData => match split_first(input) {
                b'\r' => {}
                b'\n' => *self = Self::Size(0),
                _ => return Err(BadFraming),
            },
            Self::Ended => *input = &[],
            Self::Data(_) => {}
        }
        Ok(())
    }
}

fn read_size(mut size: u64, input: &mut &[u8]) -> Result<Chunk, BadFraming> {
    while !input.is_empty() {
        let byte = split_first(input);
        match char::from(byte).to_digit(16) {
            Some(digit) if size >> 60 == 0 => size = size << 4 | u64::from(digit),
            None if byte == b'\n' => {
                return Ok(if size == 0 { Chunk::Ended } else { Chunk::Data(size) });
            }
            None if matches!(byte, b'\r' | b';' | b' ' | b'\t') => {
                return Ok(Chunk::Extension(size));
            }
            _ => return Err(BadFraming),
        }
    }
    Ok(Chunk::Size(size))
}

/// The first byte of a non-empty slice.
fn split_first(input: &mut &[u8]) -> u8 {
    let first = input[0];
    *input = &input[1..];
    first
}
