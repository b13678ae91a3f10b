//! Encoded blocks of an event stream, as they are sent to subscribers.

use std::io::Write;

use bytes::Bytes;

use crate::recent_erasures::TopicBits;

/// The longest size line of a chunk.
const SIZE_LINE: usize = 18;

/// One block of an event stream, encoded once for both delivery paths: as it is, and as a chunk of
/// HTTP/1.1 (RFC 9112, 7.1). Clones share the bytes.
#[derive(Clone, Default)]
pub(crate) struct Frame {
    chunk: Bytes,
    /// Where the block begins in the chunk.
    start: usize,
    /// The topics of its event. Of none, if the hub itself reports something.
    topics: TopicBits,
}

impl Frame {
    /// The block that `encode` writes, of about `capacity` bytes.
    pub(crate) fn encoded(capacity: usize, encode: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut block = Vec::with_capacity(capacity);
        encode(&mut block);
        Self::chunked(&block)
    }

    /// `block` as a chunk.
    pub(crate) fn chunked(block: &[u8]) -> Self {
        let mut line = [0; SIZE_LINE];
        let mut rest = &mut line[..];
        write!(rest, "{:x}\r\n", block.len()).expect("a size has at most 16 digits");
        let start = SIZE_LINE - rest.len();
        // Of the exact size: a frame may stay in the ring for long.
        let chunk = [&line[..start], block, b"\r\n"].concat();
        Self { chunk: chunk.into(), start, topics: TopicBits::default() }
    }

    /// Sets the topics of the event.
    pub(crate) fn of_topics(self, topics: TopicBits) -> Self {
        Self { topics, ..self }
    }

    pub(crate) fn topics(&self) -> TopicBits {
        self.topics
    }

    /// The block without the chunk's framing.
    pub(crate) fn block(&self) -> Bytes {
        let end = self.chunk.len().saturating_sub(2);
        self.chunk.slice(self.start..end)
    }

    /// The block with the chunk's framing.
    pub(crate) fn chunk(&self) -> &Bytes {
        &self.chunk
    }

    /// Bytes of the chunk.
    pub(crate) fn len(&self) -> usize {
        self.chunk.len()
    }
}
