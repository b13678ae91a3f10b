//! Logs that earlier versions wrote: this version opens each without loss.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use carafe_log::contract::helpers::{append_one, pattern, positions, publication, read_all, wait};
use carafe_log::{
    Access, Append, Appended, DiskLog, Entry, ExternalId, Find, IdempotencyKey, Kind, OfflineLog,
    Read, TopicState,
};
use carafe_protocol::{EventType, Position, Topic, TopicMatcher};

use crate::disk::{all, small_segments};

/// See the README.md there.
fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The logs of each version.
const ALL: [&str; 4] = ["v1/clean", "v1/unclean", "v3/clean", "v3/unclean"];

/// A copy of a fixture.
struct Copy {
    folder: tempfile::TempDir,
    /// The position before the first entry, and a line for each entry.
    start: String,
    lines: Vec<String>,
}

impl Copy {
    fn of(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for file in fs::read_dir(fixtures().join(name)).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
        }
        let entries = fixtures().join(name).with_file_name("entries.txt");
        let text = fs::read_to_string(entries).unwrap();
        let mut lines = text.lines().map(str::to_owned);
        let start = lines.next().unwrap().strip_prefix("start ").unwrap().to_owned();
        Self { folder, start, lines: lines.collect() }
    }

    fn open(&self) -> DiskLog {
        // Its keys are of the day it was made.
        let options = small_segments().with_key_window(Duration::MAX);
        DiskLog::open(self.folder.path(), options).unwrap()
    }

    fn offline(&self) -> OfflineLog {
        OfflineLog::lock(self.folder.path()).unwrap()
    }
}

/// Everything that an entry has.
pub(crate) fn line(entry: &Entry) -> String {
    let publication = &entry.publication;
    let event = publication.event();
    let time = entry.time.duration_since(UNIX_EPOCH).unwrap().as_millis();
    let topics: Vec<_> = publication.topics().map(Topic::as_str).collect();
    let (private, key, id) =
        (publication.is_private(), publication.key(), publication.external_id());
    let (retry, data) = (event.retry_time(), event.data().unwrap_or_default());
    let event_type = event.event_type().map(EventType::as_str);
    let kind = match publication.kind() {
        Kind::Event if publication.reopens() => "reopening ".into(),
        Kind::Event => String::new(),
        kind => format!("{kind:?} "),
    };
    format!(
        "{} {kind}time={time} topics={topics:?} private={private} type={event_type:?} \
         retry={retry:?} key={:?} id={:?} {data:?}",
        entry.position,
        key.map(IdempotencyKey::as_str),
        id.map(ExternalId::as_str),
    )
}

/// Has exactly the fixture's entries, each can be resumed from, and the log continues.
fn is_opened_without_loss(name: &str) {
    let copy = Copy::of(name);
    let log = copy.open();
    let before = all(&log);
    assert_eq!(before.iter().map(|entry| line(entry)).collect::<Vec<_>>(), copy.lines);
    assert_eq!(log.span().start.to_string(), copy.start);
    resumes_after_each(&log, &before);
    knows_keys_and_ids(&log, &before);
    knows_ends_and_stops(&log, &before);
    let next = append_one(&log, publication("plain", "continues"));
    drop(log);
    assert_eq!(copy.offline().verify(&mut |_, _| {}).unwrap(), []);
    let log = copy.open();
    assert_eq!(positions(&all(&log)), [positions(&before), vec![next]].concat());
}

fn resumes_after_each(log: &DiskLog, entries: &[std::sync::Arc<Entry>]) {
    for (at, entry) in entries.iter().enumerate() {
        assert_eq!(wait(log.find(entry.position)).unwrap(), Find::Found);
        assert_eq!(read_all(log, entry.offset(), &[TopicMatcher::any()]), entries[at + 1..]);
    }
    let trimmed = Position { offset: log.span().start.offset - 1, ..log.span().start };
    assert_eq!(wait(log.find(trimmed)).unwrap(), Find::Trimmed);
    let of_a = [pattern("a/*")];
    let matching = entries
        .iter()
        .filter(|entry| entry.publication.matches(&of_a))
        .cloned()
        .collect::<Vec<_>>();
    assert_eq!(read_all(log, log.span().start.offset, &of_a), matching);
}

fn knows_keys_and_ids(log: &DiskLog, entries: &[std::sync::Arc<Entry>]) {
    let (mut keys, mut ids) = (0, 0);
    for entry in entries {
        if entry.publication.key().is_some() {
            keys += 1;
            let again = wait(log.append(vec![entry.publication.clone()])).unwrap();
            assert_eq!(again, [Appended { position: entry.position, repeated: true }]);
        }
        if let Some(id) = entry.publication.external_id() {
            ids += 1;
            let first =
                entries.iter().find(|entry| entry.publication.external_id() == Some(id)).unwrap();
            let found = wait(log.find_external_id(id.clone(), Access::all())).unwrap();
            assert_eq!(found, Some(first.position));
        }
    }
    assert!(keys > 5 && ids > keys, "the fixture has some of each");
}

/// The state of each topic is that of its newest entry that has one.
fn knows_ends_and_stops(log: &DiskLog, entries: &[std::sync::Arc<Entry>]) {
    let mut states = BTreeMap::new();
    for entry in entries {
        let known = states.entry(entry.topic().clone()).or_insert((None, None));
        match entry.publication.kind() {
            Kind::End(outcome) => *known = (Some((outcome, entry.position)), None),
            Kind::Stop => *known = (None, Some(entry.position)),
            _ if entry.publication.reopens() => *known = (None, None),
            _ => {}
        }
    }
    for (topic, known) in states {
        let TopicState { end, stop, .. } = log.topic_state(&topic);
        assert_eq!((end.map(|end| (end.outcome, end.position)), stop), known, "{topic}");
    }
}

#[test]
fn a_log_of_version_1_is_opened_without_loss() {
    is_opened_without_loss("v1/clean");
}

#[test]
fn a_log_of_version_1_that_a_crash_left_is_opened_without_loss() {
    is_opened_without_loss("v1/unclean");
}

#[test]
fn a_log_of_version_3_is_opened_without_loss() {
    is_opened_without_loss("v3/clean");
}

#[test]
fn a_log_of_version_3_that_a_crash_left_is_opened_without_loss() {
    is_opened_without_loss("v3/unclean");
}

#[test]
fn the_fixture_of_version_3_has_each_kind_of_entry() {
    let copy = Copy::of("v3/clean");
    for kind in [
        "End(Done)",
        "End(Failed)",
        "End(Cancelled)",
        "Stop",
        "Erase(Before)",
        "Erase(One(",
        "Removed(Erased)",
        "Removed(Compacted)",
        "reopening",
    ] {
        assert!(copy.lines.iter().any(|line| line.contains(kind)), "{kind}");
    }
}

#[test]
fn verify_and_stat_know_logs_of_each_version() {
    for name in ALL {
        let copy = Copy::of(name);
        assert_eq!(copy.offline().verify(&mut |_, _| {}).unwrap(), []);
        let stat = copy.offline().stat().unwrap();
        let (oldest, newest) = stat.span.unwrap();
        let (first, last) = (copy.lines.first().unwrap(), copy.lines.last().unwrap());
        assert_eq!(stat.entries, copy.lines.len() as u64);
        assert!(
            first.starts_with(&format!("{oldest} ")) && last.starts_with(&format!("{newest} "))
        );
    }
}

#[test]
fn a_log_of_a_newer_version_is_refused_in_words_and_left_as_it_is() {
    let copy = Copy::of("v1/unclean");
    let name = "00000000000000000041.segment";
    let path = copy.folder.path().join(name);
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 9;
    fs::write(&path, bytes).unwrap();
    let before = content(copy.folder.path());
    let error = DiskLog::open(copy.folder.path(), small_segments()).err().unwrap();
    let expected = format!(
        "{name} has version 9 of the log's format, and this program knows versions up to 6"
    );
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert!(error.to_string().contains("a newer version of carafe wrote it"), "{error}");
    assert_eq!(content(copy.folder.path()), before);
}

fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files
        .filter(|file| !file.ends_with("lock"))
        .map(|file| (file.clone(), fs::read(file).unwrap()))
        .collect()
}
