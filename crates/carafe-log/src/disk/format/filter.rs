//! The filter of a sealed segment. It is held in memory and rules out most topics, keys and IDs
//! that the segment does not have, without reading the disk.
//!
//! A split-block Bloom filter, as in Parquet: the upper half of a hash selects a block of 256 bits,
//! the lower half selects one bit in each of its eight words. With 20 bits for each hash, one in
//! 2000 negative lookups returns a false positive.
//!
//! The file has a head (`CARAFEFI`, version, number of blocks, number of entries that the hub
//! published itself), the blocks, and a CRC32C of all that, seeded with the salt of the segment. It
//! is not synced: a lost or damaged filter is made again from the index.

use std::hint::black_box;
use std::io;

use crate::codec::{Take, length};
use crate::disk::format::header::Header;
use crate::disk::format::pieces::{Pieces, Sink};
use crate::disk::format::record::checksum;
use crate::disk::pace::Pace;
use crate::disk::storage::StorageFile;

pub(crate) const MAGIC: &[u8; 8] = b"CARAFEFI";
const VERSION: u32 = 1;
const HEAD: usize = 8 + 4 + 4 + 4;
const SUM: usize = 4;

/// The number of bits for each hash. A lookup tests the filters of all segments: with 16 bits, one
/// in ten lookups of an unknown key read the disk at 4 GB of log. Filters of earlier versions have
/// 16 bits.
const BITS: usize = 20;

const WORDS: usize = 8;

/// The size of a block in bytes.
const BLOCK: usize = WORDS * 4;

/// The number of blocks that are read at once.
const READ: usize = 512;

/// Odd multipliers, one for each word of a block, as in Parquet.
const MULTIPLIERS: [u32; WORDS] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

/// The kind of text that was hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HashKind {
    Topic,
    /// A topic and an idempotency key.
    Key,
    Id,
}

impl HashKind {
    /// Separates the kinds: an ID and a topic with the same text get different bits.
    fn of(self, hash: u64) -> u64 {
        match self {
            Self::Topic => hash,
            Self::Key => hash ^ 0x9e37_79b9_7f4a_7c15,
            Self::Id => hash ^ 0xc2b2_ae3d_27d4_eb4f,
        }
    }
}

/// The hashes that a segment may have.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    blocks: Box<[Block]>,
    of_hub: u32,
}

/// Aligned, so that no block spans two cache lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(align(32))]
struct Block([u32; WORDS]);

/// A hash in the form in which filters are tested.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    upper: u32,
    /// A bit for each word of a block.
    bits: [u32; WORDS],
}

impl Probe {
    pub(crate) fn new(kind: HashKind, hash: u64) -> Self {
        let hash = kind.of(hash);
        let bit = |multiplier| 1 << ((hash as u32).wrapping_mul(multiplier) >> 27);
        Self { upper: (hash >> 32) as u32, bits: MULTIPLIERS.map(bit) }
    }
}

impl Filter {
    /// An empty filter for this number of hashes.
    pub(crate) fn with_room_for(count: usize) -> Self {
        Self { blocks: vec![Block::default(); blocks_for(count)].into(), of_hub: 0 }
    }

    fn block(&self, probe: &Probe) -> usize {
        ((u64::from(probe.upper) * self.blocks.len() as u64) >> 32) as usize
    }

    pub(crate) fn add(&mut self, kind: HashKind, hash: u64) {
        let probe = Probe::new(kind, hash);
        let words = self.blocks[self.block(&probe)].0.iter_mut();
        words.zip(probe.bits).for_each(|(word, bit)| *word |= bit);
    }

    /// Whether the segment may have the hash. `false` is certain.
    pub(crate) fn may_have(&self, probe: &Probe) -> bool {
        let Block(words) = &self.blocks[self.block(probe)];
        let missing = |missing, (word, bit): (&u32, &u32)| missing | (bit & !word);
        words.iter().zip(&probe.bits).fold(0, missing) == 0
    }

    /// The indexes of the hashes that the segment may have.
    ///
    /// Most blocks are not in a processor cache. The first loop only loads them, so that the
    /// processor fetches many at the same time.
    pub(crate) fn which_it_may_have(&self, probes: &[Probe]) -> Vec<usize> {
        let load = |sum: u32, probe| sum ^ self.blocks[self.block(probe)].0[0];
        black_box(probes.iter().fold(0, load));
        (0..probes.len()).filter(|at| self.may_have(&probes[*at])).collect()
    }

    pub(crate) fn with_of_hub(self, of_hub: u32) -> Self {
        Self { of_hub, ..self }
    }

    /// The number of entries that the hub published itself.
    pub(crate) fn of_hub(&self) -> u32 {
        self.of_hub
    }

    /// The size of the file in bytes.
    pub(crate) fn len(&self) -> usize {
        encoded_len(self.blocks.len())
    }

    /// Encodes the file.
    pub(crate) fn encode<'a>(
        &self,
        header: &Header,
        pace: &'a Pace<'a>,
        sink: &'a mut Sink<'a>,
    ) -> io::Result<()> {
        let mut out = Pieces::new(header.salt, pace, sink);
        out.put(MAGIC)?;
        out.put_words([VERSION, length(self.blocks.len()), self.of_hub])?;
        self.blocks.iter().try_for_each(|block| out.put_words(block.0))?;
        out.finish()
    }

    /// Reads a whole file. `None` if it is damaged.
    ///
    /// A buffer on the heap with the whole file would leave a hole of its size between the filters.
    pub(crate) fn read(file: &dyn StorageFile, header: &Header) -> io::Result<Option<Self>> {
        let size = file.size()?;
        let mut head = [0; HEAD];
        if size < HEAD as u64 {
            return Ok(None);
        }
        file.read_at(0, &mut head)?;
        let Some((count, of_hub)) = decode_head(&head) else { return Ok(None) };
        if count == 0 || size != encoded_len(count) as u64 {
            return Ok(None);
        }
        let (mut blocks, mut buffer) = (Vec::with_capacity(count), [[0; BLOCK]; READ]);
        let (mut at, mut sum) = (HEAD as u64, checksum(header.salt, &head));
        while blocks.len() < count {
            let part = &mut buffer[..READ.min(count - blocks.len())];
            file.read_at(at, part.as_flattened_mut())?;
            sum = checksum(sum, part.as_flattened());
            blocks.extend(part.iter().map(decode_block));
            at += (part.len() * BLOCK) as u64;
        }
        let mut end = [0; SUM];
        file.read_at(at, &mut end)?;
        let is_good = u32::from_le_bytes(end) == sum;
        Ok(is_good.then(|| Self { blocks: blocks.into(), of_hub }))
    }
}

/// The number of blocks, and the number of entries that the hub published itself.
fn decode_head(head: &[u8]) -> Option<(usize, u32)> {
    let mut take = Take(head);
    if take.bytes(MAGIC.len())? != MAGIC || take.u32()? != VERSION {
        return None;
    }
    Some((take.u32()? as usize, take.u32()?))
}

fn decode_block(bytes: &[u8; BLOCK]) -> Block {
    let mut words = [0; WORDS];
    let bytes = bytes.as_chunks().0.iter();
    words.iter_mut().zip(bytes).for_each(|(word, bytes)| *word = u32::from_le_bytes(*bytes));
    Block(words)
}

fn blocks_for(count: usize) -> usize {
    (count * BITS).div_ceil(WORDS * 32).max(1)
}

fn encoded_len(blocks: usize) -> usize {
    HEAD + blocks * BLOCK + SUM
}

/// The size of the file for this number of hashes.
pub(crate) fn file_len(hashes: usize) -> usize {
    encoded_len(blocks_for(hashes))
}

#[cfg(test)]
mod tests {
    use carafe_protocol::{Generation, Position};

    use super::*;
    use crate::disk::format::index::{Ordinal, hash};
    use crate::disk::format::pieces::whole;

    fn of(index: Ordinal) -> u64 {
        hash(&[&index.to_string()], 7)
    }

    #[test]
    fn what_is_there_is_never_denied_and_what_is_not_is_let_through_once_in_1500_times_at_most() {
        let (count, kinds) = (100_000, [HashKind::Topic, HashKind::Key, HashKind::Id]);
        let mut filter = Filter::with_room_for(count * kinds.len());
        let add = |number| kinds.iter().for_each(|kind| filter.add(*kind, of(number)));
        (0..count as Ordinal).for_each(add);
        for kind in kinds {
            let probe = |number| Probe::new(kind, of(number));
            assert!((0..count as Ordinal).all(|number| filter.may_have(&probe(number))));
            let probes: Vec<_> = (0..2 * count as Ordinal).map(probe).collect();
            let all = (0..probes.len()).filter(|at| filter.may_have(&probes[*at]));
            assert!(filter.which_it_may_have(&probes).into_iter().eq(all));
            let others = count as Ordinal..2 * count as Ordinal;
            let wrong = others.filter(|number| filter.may_have(&probe(*number))).count();
            println!("{kind:?}: {wrong} of {count}");
            assert!(wrong * 1500 < count, "{wrong} of {count}");
        }
    }

    fn read(bytes: &[u8], header: &Header) -> Option<Filter> {
        let file = tempfile::tempfile().unwrap();
        file.write_at(0, bytes).unwrap();
        Filter::read(&file, header).unwrap()
    }

    #[test]
    fn a_filter_reads_back_as_written_and_every_flipped_bit_is_noticed() {
        let position = Position { generation: Generation::new(7), offset: 0, nonce: 0 };
        let header = Header::new(5, position.generation, position);
        let mut filter = Filter::with_room_for(10);
        (0..10).for_each(|number| filter.add(HashKind::Key, of(number)));
        let pace = Pace::urgent();
        let bytes = whole(|sink| filter.encode(&header, &pace, sink)).unwrap();
        assert_eq!(bytes.len(), file_len(10));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            assert_eq!(read(&flipped, &header), None, "byte {at}");
        }
        assert_eq!(read(&bytes, &header).as_ref(), Some(&filter));
        (0..bytes.len()).for_each(|size| assert_eq!(read(&bytes[..size], &header), None, "{size}"));
        assert_eq!(read(&bytes, &Header { salt: 6, ..header }), None, "another segment's");
        let large = Filter { blocks: vec![Block([7; WORDS]); 2 * READ + 1].into(), of_hub: 3 };
        let bytes = whole(|sink| large.encode(&header, &pace, sink)).unwrap();
        assert_eq!(read(&bytes, &header), Some(large));
    }
}
