//! Positions that outlive the program.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a [`Store`] does.
pub type StoreFuture<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// Where an event source keeps its position, so that the next run of the program resumes there.
///
/// A position is saved after its event was handled: when the program asks for the next one. So
/// after a crash, no event is lost, and those since the last save arrive again. Each source needs a
/// store of its own.
///
/// Adapters of streams that read ahead, such as `ready_chunks` and `buffered`, ask for the next
/// event before the program has handled the one before: then a crash can lose it.
///
/// [`FileStore`] keeps the position in a file. A program that writes to a database can save the
/// [`id`](crate::ReceivedEvent::id) of each event in the same transaction instead, and begin with
/// [`last_event_id`](crate::EventSourceOptions::last_event_id): then it handles each event once.
///
/// ```
/// use std::sync::{Arc, Mutex};
///
/// use carafe_client::{Store, StoreFuture};
///
/// #[derive(Default)]
/// struct Memory(Arc<Mutex<Option<String>>>);
///
/// impl Store for Memory {
///     fn load(&self) -> StoreFuture<Option<String>> {
///         let position = self.0.lock().unwrap().clone();
///         Box::pin(async { Ok(position) })
///     }
///
///     fn save(&self, position: String) -> StoreFuture<()> {
///         let kept = Arc::clone(&self.0);
///         Box::pin(async move {
///             *kept.lock().unwrap() = Some(position);
///             Ok(())
///         })
///     }
/// }
/// ```
pub trait Store: Send + Sync + 'static {
    /// The saved position; `None` if there is none yet.
    fn load(&self) -> StoreFuture<Option<String>>;

    /// Saves a position. The next one is saved only after that.
    fn save(&self, position: String) -> StoreFuture<()>;
}

/// A position in a file of its own: one line with the ID.
///
/// After a crash or a power failure, the file has the position before or the new one. The folder
/// must be writable, because the file is replaced.
///
/// ```no_run
/// use carafe_client::{EventSource, FileStore};
///
/// # async fn example() -> Result<(), carafe_client::Error> {
/// let mut events = EventSource::options("http://127.0.0.1:3000/events/orders")
///     .store(FileStore::new("orders.position"))
///     .connect();
/// while let Some(event) = events.next().await {
///     println!("{}", event?.data);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct FileStore {
    path: Arc<Path>,
    /// Clones take turns: a source that is dropped while it saves still writes, and the next one
    /// may be reading already.
    turn: Arc<Mutex<()>>,
}

impl FileStore {
    /// Keeps a position in this file, which need not exist.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path: PathBuf = path.into();
        Self { path: path.into(), turn: Arc::default() }
    }

    /// Reads the position; `None` if there is no file.
    ///
    /// # Errors
    /// When the file cannot be read, or when it has anything but one line.
    pub fn read(&self) -> io::Result<Option<String>> {
        let _turn = self.turn();
        match fs::read_to_string(&self.path) {
            Ok(text) => only_line(&text).map(|id| Some(id.into())).ok_or_else(|| {
                let text = "this is not a file with a position: choose another, or delete it";
                io::Error::new(io::ErrorKind::InvalidData, text)
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the position. It is on the disk when this returns.
    ///
    /// # Errors
    /// When the file cannot be written or renamed. It has the position before then.
    pub fn write(&self, position: &str) -> io::Result<()> {
        let _turn = self.turn();
        let mut new = self.path.as_os_str().to_owned();
        new.push(".new");
        let mut file = File::create(&new)?;
        writeln!(file, "{position}")?;
        // Before the rename, or a power failure could leave an empty file under the name.
        file.sync_all()?;
        fs::rename(new, &self.path)?;
        self.sync_folder()
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the new name durable. Only Unix lets programs sync folders.
    #[cfg(unix)]
    fn sync_folder(&self) -> io::Result<()> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    #[cfg(not(unix))]
    fn sync_folder(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Store for FileStore {
    fn load(&self) -> StoreFuture<Option<String>> {
        let store = self.clone();
        blocking(move || store.read())
    }

    fn save(&self, position: String) -> StoreFuture<()> {
        let store = self.clone();
        blocking(move || store.write(&position))
    }
}

/// Runs what waits for the disk on a thread for that.
fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> StoreFuture<T> {
    Box::pin(async { tokio::task::spawn_blocking(run).await.map_err(io::Error::other)? })
}

/// An ID has no line breaks.
fn only_line(text: &str) -> Option<&str> {
    text.strip_suffix('\n').filter(|line| !line.contains(['\r', '\n']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_position_is_read_again_and_other_text_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("position");
        let store = FileStore::new(&path);
        assert_eq!(store.read().unwrap(), None);
        for id in ["1-2-3", "", "with a space", "caf\u{e9}"] {
            store.write(id).unwrap();
            assert_eq!(store.read().unwrap().as_deref(), Some(id));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left over");
        for text in ["", "1-2-3", "1-2-3\n1-2-4\n", "1\r\n"] {
            fs::write(&path, text).unwrap();
            assert_eq!(store.read().unwrap_err().kind(), io::ErrorKind::InvalidData, "{text:?}");
        }
    }

    #[test]
    fn clones_that_write_at_the_same_time_leave_a_whole_position() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileStore::new(folder.path().join("position"));
        let positions = ["1".to_owned(), "2".repeat(10_000)];
        let write = |position: &str| (0..50).try_for_each(|_| store.clone().write(position));
        std::thread::scope(|scope| {
            for writing in positions.each_ref().map(|position| scope.spawn(|| write(position))) {
                writing.join().unwrap().unwrap();
            }
        });
        assert!(positions.contains(&store.read().unwrap().unwrap()));
    }

    #[test]
    fn what_a_crash_left_of_a_write_is_ignored_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("position");
        let store = FileStore::new(&path);
        store.write("1").unwrap();
        fs::write(folder.path().join("position.new"), "a part of a longer posi").unwrap();
        assert_eq!(store.read().unwrap().as_deref(), Some("1"));
        store.write("2").unwrap();
        assert_eq!(store.read().unwrap().as_deref(), Some("2"));
    }

    #[test]
    fn a_position_that_cannot_be_written_leaves_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("position");
        let store = FileStore::new(&path);
        store.write("1").unwrap();
        fs::create_dir(folder.path().join("position.new")).unwrap();
        store.write("2").unwrap_err();
        assert_eq!(store.read().unwrap().as_deref(), Some("1"));
    }
}
