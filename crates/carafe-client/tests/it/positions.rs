//! Positions that outlive a source.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use carafe_client::{Error, EventSource, FileStore, Store, StoreFuture};

use crate::script::{Script, Then, answer, stream};
use crate::source::{all, source};

/// Keeps all positions.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<String>>>);

impl Kept {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Store for Kept {
    fn load(&self) -> StoreFuture<Option<String>> {
        let last = self.0.lock().unwrap().last().cloned();
        Box::pin(async { Ok(last) })
    }

    fn save(&self, position: String) -> StoreFuture<()> {
        let kept = Arc::clone(&self.0);
        Box::pin(async move {
            kept.lock().unwrap().push(position);
            Ok(())
        })
    }
}

/// A store of which one part fails.
struct Broken {
    loads: bool,
}

impl Store for Broken {
    fn load(&self) -> StoreFuture<Option<String>> {
        let loads = self.loads;
        Box::pin(async move { if loads { Ok(None) } else { Err(io::Error::other("no disk")) } })
    }

    fn save(&self, _: String) -> StoreFuture<()> {
        Box::pin(async { Err(io::Error::other("disk full")) })
    }
}

/// Longer than a test takes.
const LONG: Duration = Duration::from_secs(3600);

const THREE: &str = "id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: c\n\n";

#[tokio::test]
async fn the_next_run_resumes_after_the_last_event_that_was_handled() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::new(folder.path().join("position"));
    let script = Script::play_then(&[
        (&stream(THREE), Then::Hang),
        (&answer("204 No Content", "", ""), Then::Close),
    ])
    .await;
    let mut events = source(&script).store(store.clone()).save_interval(Duration::ZERO).connect();
    for data in ["a", "b"] {
        assert_eq!(events.next().await.unwrap().unwrap().data, data);
    }
    // As in a crash: nothing says that "b" was handled.
    drop(events);
    assert_eq!(store.read().unwrap().as_deref(), Some("1"));
    let options = source(&script).last_event_id("older").store(store);
    assert_eq!(all(options.connect()).await, (vec![], None));
    assert_eq!(script.header(1, "last-event-id").unwrap(), "1");
}

#[tokio::test]
async fn a_program_that_ends_in_order_saves_the_event_that_it_has_handled() {
    let script = Script::play_then(&[(&stream(THREE), Then::Hang)]).await;
    let kept = Kept::default();
    let mut events = source(&script).store(kept.clone()).save_interval(LONG).connect();
    events.save().await.unwrap();
    assert_eq!(kept.all(), [""; 0], "there is no position yet");
    for _ in 0..3 {
        events.next().await.unwrap().unwrap();
    }
    events.save().await.unwrap();
    events.save().await.unwrap();
    assert_eq!(kept.all(), ["1", "3"], "events without a pause are not each saved");
}

#[tokio::test]
async fn the_position_is_saved_when_no_event_waits_and_before_the_end_is_told() {
    let script = Script::play_then(&[(&stream(THREE), Then::Hang)]).await;
    let kept = Kept::default();
    let mut events = source(&script).store(kept.clone()).save_interval(LONG).connect();
    for _ in 0..3 {
        events.next().await.unwrap().unwrap();
    }
    assert!(futures_util::poll!(std::pin::pin!(events.next())).is_pending());
    assert_eq!(kept.all(), ["1", "3"]);

    let script = Script::play(&[&stream(THREE), &answer("404 Not Found", "", "")]).await;
    let kept = Kept::default();
    let (_, error) = all(source(&script).store(kept.clone()).save_interval(LONG).connect()).await;
    assert!(matches!(error, Some(Error::Refused { .. })), "{error:?}");
    assert_eq!(kept.all().last().unwrap(), "3");
}

#[tokio::test]
async fn a_position_without_an_event_is_saved_too() {
    let script = Script::play(&[&stream("id: 7\n\n"), &answer("204 No Content", "", "")]).await;
    let kept = Kept::default();
    all(source(&script).store(kept.clone()).save_interval(LONG).connect()).await;
    assert_eq!(kept.all(), ["7"]);
}

#[tokio::test]
async fn a_store_that_fails_ends_the_source() {
    let script = Script::play_then(&[(&stream(THREE), Then::Hang)]).await;
    let (_, error) = all(source(&script).store(Broken { loads: false }).connect()).await;
    assert_eq!(error.unwrap().to_string(), "cannot keep the position: no disk");
    let (data, error) = all(source(&script).store(Broken { loads: true }).connect()).await;
    assert_eq!(data, ["a"]);
    assert_eq!(error.unwrap().to_string(), "cannot keep the position: disk full");
}

#[tokio::test]
async fn a_file_that_is_no_position_ends_the_source_before_anything_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "two\nlines\n").unwrap();
    let script = Script::play(&[]).await;
    let options = EventSource::options(script.url()).store(FileStore::new(&path));
    let (_, error) = all(options.connect()).await;
    assert!(matches!(error, Some(Error::Store(_))), "{error:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\nlines\n");
}
