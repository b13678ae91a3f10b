//! Encoded blocks of an event stream, as they are sent to subscribers.

use bytes::Bytes;

/// One block of an event stream, encoded once for both delivery paths: as it is, and as a chunk of
/// HTTP/1.1 (RFC 9112, 7.1). Clones share the bytes.
#[derive(Clone, Default)]
pub(crate) struct Frame {
    chunk: Bytes,
    /// Where the block begins in the chunk.
    start: usize,
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
        let size = format!("{:x}\r\n", block.len());
        let chunk = [size.as_bytes(), block, b"\r\n"].concat();
        Self { chunk: chunk.into(), start: size.len() }
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
