//! A disk that forgets what was not synced.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use carafe_log::{Storage, StorageFile};
use rand::RngExt;
use rand::rngs::StdRng;

mod faults;

use faults::Faults;
pub(crate) use faults::{Call, Errno, Fault};

/// A simulated disk. It records each call, and fails on request.
#[derive(Clone, Default)]
pub(crate) struct SimDisk {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    disk: Mutex<Disk>,
    released: Condvar,
}

impl Shared {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap()
    }

    /// Begins a call, which may fail.
    fn call(&self, call: Call) -> io::Result<MutexGuard<'_, Disk>> {
        let mut disk = self.disk();
        let Some(fault) = disk.faults.next(call) else { return Ok(disk) };
        drop(disk);
        Err(fault.error())
    }
}

#[derive(Default)]
struct Disk {
    names: BTreeMap<String, usize>,
    files: Vec<Vec<u8>>,
    /// What was there, durably, before the journal.
    base: Image,
    journal: Vec<Op>,
    left_out: Option<Sync>,
    /// Bytes that all files together may take.
    room: Option<usize>,
    faults: Faults,
    /// Syncs of files wait.
    held: bool,
    /// How many wait.
    waiting: usize,
}

/// Files, and their names with their numbers.
#[derive(Clone, Default)]
struct Image {
    names: BTreeMap<String, usize>,
    files: Vec<Vec<u8>>,
}

/// Something that was done, with the number of the file.
#[derive(Clone, Debug)]
enum Op {
    Link(String, usize),
    Rename(String, String),
    Unlink(String),
    Write(usize, usize, Vec<u8>),
    Resize(usize, usize),
    SyncFile(usize),
    /// What was written before it, and not synced, will never be: a later sync does not write it
    /// again.
    FailedSync(usize),
    SyncNames,
}

/// A kind of sync, by what it makes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    /// A segment's header.
    Header,
    /// A commit.
    Commit,
    /// The name of a new segment.
    Begun,
    /// That segments are gone.
    Trimmed,
    /// That the mark of an orderly end is gone.
    Unmarked,
    /// A segment that was written again.
    Rewritten,
    /// That the index of a segment is gone that is about to be replaced.
    Unindexed,
    /// The name of a segment that was written again.
    Replaced,
}

impl SimDisk {
    /// A disk with these files, all durable.
    pub(crate) fn with(content: BTreeMap<String, Vec<u8>>) -> Self {
        let disk = Self::default();
        {
            let mut inner = disk.shared.disk();
            for (number, (name, bytes)) in content.into_iter().enumerate() {
                inner.names.insert(name, number);
                inner.files.push(bytes);
            }
            inner.base = Image { names: inner.names.clone(), files: inner.files.clone() };
        }
        disk
    }

    /// Pretends that syncs of this kind were done.
    pub(crate) fn leaving_out(sync: Sync) -> Self {
        let disk = Self::default();
        disk.shared.disk().left_out = Some(sync);
        disk
    }

    /// Sets how many bytes fit on the disk.
    pub(crate) fn set_room(&self, bytes: usize) {
        self.shared.disk().room = Some(bytes);
    }

    /// Makes every such call fail from now on.
    pub(crate) fn fail_all(&self, call: Call, fault: Fault) {
        self.shared.disk().faults.fail_all(call, fault);
    }

    /// Makes one such call fail, after a number of calls that succeed.
    pub(crate) fn fail_once(&self, call: Call, succeed: usize, fault: Fault) {
        self.shared.disk().faults.fail_once(call, succeed, fault);
    }

    /// Makes a random call fail, one in a given number, and a random read, by a seed.
    pub(crate) fn fail_at_random(&self, seed: u64, one_in: u32, reads: u32) {
        self.shared.disk().faults.fail_at_random(seed, one_in, reads);
    }

    /// Takes back all faults.
    pub(crate) fn heal(&self) {
        self.shared.disk().faults.stop();
    }

    /// Makes syncs of files wait until [`release`](Self::release).
    pub(crate) fn hold(&self) {
        self.shared.disk().held = true;
    }

    /// How many syncs wait.
    pub(crate) fn waiting(&self) -> usize {
        self.shared.disk().waiting
    }

    pub(crate) fn release(&self) {
        self.shared.disk().held = false;
        self.shared.released.notify_all();
    }

    /// How much was done so far.
    pub(crate) fn done(&self) -> usize {
        self.shared.disk().journal.len()
    }

    /// What is there now.
    pub(crate) fn content(&self) -> BTreeMap<String, Vec<u8>> {
        let disk = self.shared.disk();
        disk.names
            .iter()
            .map(|(name, number)| (name.clone(), disk.files[*number].clone()))
            .collect()
    }

    /// What a crash after the first `done` operations could leave.
    pub(crate) fn crash(&self, done: usize, random: &mut StdRng) -> BTreeMap<String, Vec<u8>> {
        let disk = self.shared.disk();
        let journal = &disk.journal[..done];
        let Image { mut names, mut files } = disk.base.clone();
        files.resize(disk.files.len(), Vec::new());
        let durable = durable(journal);
        for (op, durable) in journal.iter().zip(durable) {
            match op {
                Op::Write(number, from, bytes) if durable => {
                    write(&mut files[*number], *from, bytes);
                }
                Op::Write(number, from, bytes) => tear(&mut files[*number], *from, bytes, random),
                Op::Resize(number, size) if durable || random.random() => {
                    files[*number].resize(*size, 0);
                }
                Op::Link(..) | Op::Rename(..) | Op::Unlink(..) if durable || random.random() => {
                    rename(&mut names, op);
                }
                _ => {}
            }
        }
        names.into_iter().map(|(name, number)| (name, files[number].clone())).collect()
    }
}

/// For each operation whether a sync made it durable. What was written and met a failed sync never
/// is: the operating system takes it for written. Sizes and names are in the file system's journal,
/// and the next sync takes them along.
fn durable(journal: &[Op]) -> Vec<bool> {
    let (mut sizes, mut content, mut names) = (BTreeSet::new(), BTreeSet::new(), false);
    let mut durable: Vec<_> = journal
        .iter()
        .rev()
        .map(|op| match op {
            Op::SyncFile(number) => sizes.insert(*number) | content.insert(*number),
            Op::FailedSync(number) => content.remove(number),
            Op::SyncNames => std::mem::replace(&mut names, true),
            Op::Write(number, ..) => content.contains(number),
            Op::Resize(number, _) => sizes.contains(number),
            Op::Link(..) | Op::Rename(..) | Op::Unlink(..) => names,
        })
        .collect();
    durable.reverse();
    durable
}

fn write(file: &mut Vec<u8>, from: usize, bytes: &[u8]) {
    let size = file.len().max(from + bytes.len());
    file.resize(size, 0);
    file[from..from + bytes.len()].copy_from_slice(bytes);
}

/// Some sectors of a write get to the disk: none, all, the first, or any.
fn tear(file: &mut Vec<u8>, from: usize, bytes: &[u8], random: &mut StdRng) {
    const SECTOR: usize = 64;
    match random.random_range(0..4) {
        0 => {}
        1 => write(file, from, bytes),
        2 => write(file, from, &bytes[..random.random_range(0..=bytes.len())]),
        _ => {
            for (number, sector) in bytes.chunks(SECTOR).enumerate() {
                if random.random() {
                    write(file, from + number * SECTOR, sector);
                }
            }
        }
    }
}

fn rename(names: &mut BTreeMap<String, usize>, op: &Op) {
    match op {
        Op::Link(name, number) => drop(names.insert(name.clone(), *number)),
        Op::Unlink(name) => drop(names.remove(name)),
        Op::Rename(from, to) => {
            // The name that was made just before may be the one that got lost.
            if let Some(number) = names.remove(from) {
                names.insert(to.clone(), number);
            }
        }
        _ => {}
    }
}

impl Storage for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.shared.call(Call::List)?.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let mut disk = self.shared.call(Call::Create)?;
        let number = disk.files.len();
        disk.files.push(Vec::new());
        disk.names.insert(name.into(), number);
        disk.journal.push(Op::Link(name.into(), number));
        Ok(Arc::new(SimFile { shared: Arc::clone(&self.shared), number }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let number = self
            .shared
            .call(Call::Open)?
            .names
            .get(name)
            .copied()
            .ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile { shared: Arc::clone(&self.shared), number }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.shared.call(Call::Rename)?;
        if !disk.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let op = Op::Rename(from.into(), to.into());
        rename(&mut disk.names, &op);
        disk.journal.push(op);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.shared.call(Call::Remove)?;
        disk.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        disk.journal.push(Op::Unlink(name.into()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.shared.call(Call::SyncNames)?;
        let kind = disk.journal.iter().rev().find_map(|op| match op {
            Op::Link(name, _) if name.ends_with(".segment") => Some(Sync::Begun),
            Op::Unlink(name) if name == "clean" => Some(Sync::Unmarked),
            Op::Unlink(name) if name.ends_with(".segment") => Some(Sync::Trimmed),
            Op::Unlink(_) => Some(Sync::Unindexed),
            Op::Rename(_, name) if name.ends_with(".segment") => Some(Sync::Replaced),
            _ => None,
        });
        if kind.is_none() || kind != disk.left_out {
            disk.journal.push(Op::SyncNames);
        }
        Ok(())
    }
}

struct SimFile {
    shared: Arc<Shared>,
    number: usize,
}

impl SimFile {
    fn write(&self, disk: &mut Disk, at: u64, bytes: &[u8]) {
        let from = usize::try_from(at).unwrap();
        write(&mut disk.files[self.number], from, bytes);
        disk.journal.push(Op::Write(self.number, from, bytes.to_vec()));
    }

    fn resize(&self, disk: &mut Disk, size: u64) {
        let size = usize::try_from(size).unwrap();
        disk.files[self.number].resize(size, 0);
        disk.journal.push(Op::Resize(self.number, size));
    }
}

impl StorageFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.shared.call(Call::Size)?.files[self.number].len() as u64)
    }

    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        let disk = self.shared.call(Call::Read)?;
        let from = usize::try_from(at).unwrap();
        let read = disk.files[self.number]
            .get(from..from + bytes.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        bytes.copy_from_slice(read);
        Ok(())
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.shared.disk();
        let fault = disk.faults.next(Call::Write);
        let stored = match fault {
            None => bytes.len(),
            Some(Fault::Short(stored, _)) => stored.min(bytes.len() - 1),
            Some(Fault::Error(_) | Fault::Panic) => 0,
        };
        self.write(&mut disk, at, &bytes[..stored]);
        drop(disk);
        fault.map_or(Ok(()), |fault| Err(fault.error()))
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        let mut disk = self.shared.call(Call::Allocate)?;
        let taken: usize = disk.names.values().map(|number| disk.files[*number].len()).sum();
        let size_here = usize::try_from(size).unwrap();
        if disk.room.is_some_and(|room| taken + size_here > room) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.resize(&mut disk, size);
        Ok(())
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.resize(&mut *self.shared.call(Call::Truncate)?, size);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.shared.disk();
        disk.waiting += 1;
        let mut disk = self.shared.released.wait_while(disk, |disk| disk.held).unwrap();
        disk.waiting -= 1;
        if let Some(fault) = disk.faults.next(Call::SyncFile) {
            disk.journal.push(Op::FailedSync(self.number));
            drop(disk);
            return Err(fault.error());
        }
        let mut names = disk.names.iter().filter(|(_, number)| **number == self.number);
        let is_copy = names.any(|(name, _)| name.ends_with(".segment.new"));
        let kind = disk.journal.iter().rev().find_map(|op| match op {
            Op::Write(number, ..) if *number == self.number && is_copy => Some(Sync::Rewritten),
            Op::Write(number, 0, _) if *number == self.number => Some(Sync::Header),
            Op::Write(number, ..) if *number == self.number => Some(Sync::Commit),
            _ => None,
        });
        if kind.is_none() || kind != disk.left_out {
            disk.journal.push(Op::SyncFile(self.number));
        }
        Ok(())
    }
}
