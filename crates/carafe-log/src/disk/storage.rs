//! What the log needs of a disk: one folder, files that are written at positions, and the three
//! syncs.

use std::fs::{self, DirBuilder, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One folder of a disk. A test may bring its own, which forgets what was not synced.
pub trait Storage: Send + Sync + 'static {
    /// The names of all files, without folders.
    fn list(&self) -> io::Result<Vec<String>>;

    /// A new, empty file; one of that name is replaced.
    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>>;

    /// A file that is there.
    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>>;

    /// Gives a file another name, in place of what had it. Durable after [`sync`](Self::sync).
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file, which who has it open may go on reading. Durable after [`sync`](Self::sync).
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes names durable: what was created, renamed and removed.
    fn sync(&self) -> io::Result<()>;
}

/// One file.
pub trait StorageFile: Send + Sync {
    /// How many bytes it has.
    fn size(&self) -> io::Result<u64>;

    /// Reads exactly so many bytes.
    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// Writes all of it. Durable after [`sync`](Self::sync).
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes it so long, filled with zeros, and takes the room on the disk for it now.
    fn allocate(&self, size: u64) -> io::Result<()>;

    /// Cuts it off.
    fn truncate(&self, size: u64) -> io::Result<()>;

    /// Makes content and size durable.
    fn sync(&self) -> io::Result<()>;
}

/// All that a file has.
pub(crate) fn read_whole(file: &dyn StorageFile) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.size()?).unwrap_or(usize::MAX)];
    file.read_at(0, &mut bytes)?;
    Ok(bytes)
}

/// A sync that fails for want of room has lost data like any other.
pub(crate) fn not_full(error: io::Error) -> io::Error {
    io::Error::other(error)
}

/// A folder of the operating system.
pub(crate) struct Folder {
    path: PathBuf,
    // Held open, so that syncing it needs no other descriptor.
    folder: fs::File,
}

/// Keeps other processes from opening the log in a folder, until it is dropped.
///
/// It is not part of [`Folder`]: a reader thread may still hold that for a moment when the log is
/// closed.
pub(crate) struct FolderLock {
    _file: fs::File,
}

impl Folder {
    /// Creates the folder if it does not exist, and locks it.
    pub(crate) fn lock(path: &Path) -> io::Result<(Self, FolderLock)> {
        make_private(path)?;
        warn_if_shared(path)?;
        let lock = FolderLock::acquire(path)?;
        Ok((Self { path: path.to_owned(), folder: fs::File::open(path)? }, lock))
    }
}

impl FolderLock {
    fn acquire(path: &Path) -> io::Result<Self> {
        let file = private().create(true).truncate(false).write(true).open(path.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another process has this log open: stop it, or choose another path",
            )),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Makes the folder for its owner alone. Events in it may be private.
fn make_private(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// A folder that was there keeps its mode.
fn warn_if_shared(path: &Path) -> io::Result<()> {
    if fs::metadata(path)?.mode() & 0o077 != 0 {
        let path = path.display();
        tracing::warn!("other users of this machine may read the log: chmod -R go= {path}");
    }
    Ok(())
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

impl Storage for Folder {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            // A link may lead to a folder, or to nothing.
            let is_file = kind.is_file() || (kind.is_symlink() && entry.path().is_file());
            // Names that are not UTF-8 are none of the log's.
            names.extend(entry.file_name().into_string().ok().filter(|_| is_file));
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        Ok(Arc::new(
            private()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(self.path.join(name))?,
        ))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        Ok(Arc::new(OpenOptions::new().read(true).write(true).open(self.path.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        self.folder.sync_all()
    }
}

impl StorageFile for fs::File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(bytes, at)
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        match rustix::fs::fallocate(self, rustix::fs::FallocateFlags::empty(), 0, size) {
            // A file system that cannot take the room ahead takes it as it is written.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => self.set_len(size),
            outcome => Ok(outcome?),
        }
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.set_len(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
