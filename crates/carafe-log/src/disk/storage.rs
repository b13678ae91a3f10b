//! The file system as the log uses it: one directory, and files that are written at given places.
//! It knows nothing of the content of files.

use std::fs::{self, DirBuilder, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One directory. Tests can use their own, such as one that forgets what was not synced.
///
/// ```
/// use std::io;
/// use std::sync::Arc;
///
/// use carafe_log::{DiskLog, DiskOptions, OpenError, Storage};
///
/// fn open(storage: Arc<dyn Storage>) -> Result<DiskLog, OpenError> {
///     DiskLog::open_on(storage, DiskOptions::default())
/// }
/// ```
pub trait Storage: Send + Sync + 'static {
    /// The names of all files, without directories.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Creates an empty file. Replaces an existing one.
    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>>;

    /// Opens an existing file.
    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>>;

    /// Renames a file. Replaces an existing file of the new name. Durable after
    /// [`sync`](Self::sync).
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Open handles can still read it. Durable after [`sync`](Self::sync).
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes created, renamed and removed names durable.
    fn sync(&self) -> io::Result<()>;
}

/// One file.
///
/// ```
/// use std::io;
///
/// use carafe_log::StorageFile;
///
/// fn read_all(file: &dyn StorageFile) -> io::Result<Vec<u8>> {
///     let mut bytes = vec![0; file.size()? as usize];
///     file.read_at(0, &mut bytes)?;
///     Ok(bytes)
/// }
/// ```
pub trait StorageFile: Send + Sync {
    /// The size in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Fills `bytes` from the file, starting at `at`.
    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` at `at`. Durable after [`sync`](Self::sync).
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Extends the file with zeros to this size, and allocates the disk space now.
    fn allocate(&self, size: u64) -> io::Result<()>;

    /// Truncates the file to this size.
    fn truncate(&self, size: u64) -> io::Result<()>;

    /// Makes the content and the size durable.
    fn sync(&self) -> io::Result<()>;
}

/// The whole content of a file.
pub(crate) fn read_whole(file: &dyn StorageFile) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.size()?).unwrap_or(usize::MAX)];
    file.read_at(0, &mut bytes)?;
    Ok(bytes)
}

/// Hides the kind of an error of a sync. If a sync fails because the disk is full, data is lost as
/// with any other error, so the caller must not treat it as a full disk, which stored nothing.
pub(crate) fn not_full(error: io::Error) -> io::Error {
    io::Error::other(error)
}

/// A directory of the operating system.
pub(crate) struct Folder {
    path: PathBuf,
    // Open, so that syncing it does not need another file descriptor.
    folder: fs::File,
}

/// Prevents other processes from opening the log in a directory, until it is dropped.
///
/// It is not part of [`Folder`]: a reader thread may own that for a moment after the log is closed.
pub(crate) struct FolderLock {
    _file: fs::File,
}

impl Folder {
    /// Creates the directory if it does not exist, and locks it.
    pub(crate) fn lock(path: &Path) -> io::Result<(Self, FolderLock)> {
        make_private(path)?;
        warn_if_shared(path)?;
        // Before anything is read: what another process writes would look like damage.
        let lock = FolderLock::acquire(path)?;
        Ok((Self { path: path.to_owned(), folder: fs::File::open(path)? }, lock))
    }
}

impl FolderLock {
    fn acquire(path: &Path) -> io::Result<Self> {
        // The file stays when the process ends; the kernel releases the lock, also after a crash.
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

/// Creates the directory for its owner alone, since events in it may be private.
fn make_private(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// An existing directory keeps its mode.
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
            // A symbolic link may point to a directory or to nothing.
            let is_file = kind.is_file() || (kind.is_symlink() && entry.path().is_file());
            // The log has no names that are not UTF-8.
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
        // A directory has no data of its own for `fdatasync`: its entries are metadata.
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
            // Some file systems cannot allocate space ahead. They allocate it on each write.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => self.set_len(size),
            outcome => Ok(outcome?),
        }
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.set_len(size)
    }

    fn sync(&self) -> io::Result<()> {
        // `fdatasync` also writes the size, which is needed to read what was written
        // (fdatasync(2)).
        self.sync_data()
    }
}
