//! The encoding of large files in pieces, so that no buffer holds a whole file.

use std::io;

use crate::codec::Put;
use crate::disk::format::record::checksum;
use crate::disk::pace::Pace;

/// The size of a piece in bytes. Writing it takes well below a millisecond.
const PIECE: usize = 64 << 10;

/// Takes the pieces of a file in order.
pub(crate) type Sink<'a> = dyn FnMut(&[u8]) -> io::Result<()> + 'a;

/// A file that ends with the CRC32C of all that precedes it.
pub(crate) struct Pieces<'a> {
    sink: &'a mut Sink<'a>,
    pace: &'a Pace<'a>,
    piece: Vec<u8>,
    /// The checksum of the pieces so far.
    sum: u32,
}

impl<'a> Pieces<'a> {
    pub(crate) fn new(salt: u32, pace: &'a Pace<'a>, sink: &'a mut Sink<'a>) -> Self {
        Self { sink, pace, piece: Vec::with_capacity(PIECE + 1024), sum: salt }
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() < PIECE { Ok(()) } else { self.flush() }
    }

    pub(crate) fn put_words<const N: usize>(&mut self, words: [u32; N]) -> io::Result<()> {
        words.iter().for_each(|word| self.piece.put_u32(*word));
        self.put(&[])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sum = checksum(self.sum, &self.piece);
        (self.sink)(&self.piece)?;
        self.piece.clear();
        self.pace.pause();
        Ok(())
    }

    /// Ends the file.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        let sum = checksum(self.sum, &self.piece);
        self.piece.put_u32(sum);
        self.flush()
    }
}

/// A whole file, encoded at once.
pub(crate) fn whole(encode: impl FnOnce(&mut Sink<'_>) -> io::Result<()>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    encode(&mut |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_make_up_the_file_and_its_checksum() {
        for count in [0, 1, PIECE - 4, PIECE, 3 * PIECE + 5] {
            let content: Vec<u8> = (0..count).map(|at| (at % 251) as u8).collect();
            let (mut sizes, mut bytes) = (Vec::new(), Vec::new());
            let mut sink = |piece: &[u8]| {
                sizes.push(piece.len());
                bytes.extend_from_slice(piece);
                Ok(())
            };
            let pace = Pace::urgent();
            let mut pieces = Pieces::new(7, &pace, &mut sink);
            content.chunks(100).for_each(|part| pieces.put(part).unwrap());
            pieces.finish().unwrap();
            let (kept, sum) = bytes.split_last_chunk().unwrap();
            assert_eq!((kept, u32::from_le_bytes(*sum)), (&content[..], checksum(7, &content)));
            assert!(sizes.iter().all(|size| *size <= PIECE + 100), "{sizes:?}");
        }
    }
}
