//! Publish latency while a segment with very many topics is sealed.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use carafe_log::{Append, DiskLog, DiskOptions, Publication};
use carafe_protocol::Topic;
use futures_executor::block_on;

use crate::figure::Limit;
use crate::filling::Filling;
use crate::outcome::Outcome;
use crate::section::Section;
use crate::segment::newest_commit_bytes;
use crate::series::Series;

use super::bench::{Bench, amount, permille};

/// Topics of the segment that is sealed.
const TOPICS: u64 = 3_000_000;

/// Publications before it is full, about: what publishing costs otherwise.
const BEFORE: u32 = 3_000;
const DATA: usize = 1_000;

/// Bytes of such an entry in the segment, at least.
const ENTRY: u32 = DATA as u32 + 40;

/// How long sealing may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Segments that are sealed, each of a log of its own.
const SEGMENTS: usize = 3;

/// Seconds, in rising order.
struct Sealed {
    otherwise: Vec<f64>,
    meanwhile: Vec<f64>,
    /// From the segment's end until its index is there.
    took: f64,
}

pub(crate) fn measure(bench: &Bench) -> Outcome<Section> {
    let topics = bench.size(TOPICS);
    let all = (0..bench.rounds.min(SEGMENTS))
        .map(|_| seal(bench, topics))
        .collect::<Outcome<Vec<_>>>()?;
    let mut section =
        Section::new(format!("Publishing while a segment of {} topics is sealed", amount(topics)));
    section.head(&["", "publications", "p50, µs", "p99.9, µs", "longest, µs"]);
    for (name, of) in [("otherwise", 0), ("meanwhile", 1)] {
        let side = |sealed: &Sealed| {
            if of == 0 { sealed.otherwise.clone() } else { sealed.meanwhile.clone() }
        };
        let each = |value: fn(&[f64]) -> f64| {
            Series::of(all.iter().map(|sealed| value(&side(sealed)))).to_string()
        };
        section.row(vec![
            name.into(),
            each(|rising| rising.len() as f64),
            each(|rising| permille(rising, 500) * 1e6),
            each(|rising| permille(rising, 999) * 1e6),
            each(|rising| permille(rising, 1000) * 1e6),
        ]);
    }
    let took = Series::of(all.iter().map(|sealed| sealed.took));
    section.note(format!("Until the index was there it took {took} s."));
    let ratio =
        |sealed: &Sealed| permille(&sealed.meanwhile, 999) / permille(&sealed.otherwise, 999);
    let ratio = Series::of(all.iter().map(ratio));
    section.demand(
        "p99.9 of publishing, while a segment is sealed / otherwise",
        ratio,
        Limit::AtMost(3.0),
    );
    Ok(section)
}

fn seal(bench: &Bench, topics: u64) -> Outcome<Sealed> {
    let folder = bench.folder()?;
    let room = u64::from(BEFORE * ENTRY) + (topics as f64 * bytes_of_topic(bench)?) as u64;
    let options = DiskOptions::default().with_segment_bytes(u32::try_from(room)?);
    let mut filling = Filling::open(folder.path(), options)?;
    filling.append((0..topics).filter_map(of_topic))?;
    let sealed = AtomicBool::new(false);
    thread::scope(|scope| {
        let watching =
            scope.spawn(|| watch(folder.path(), &sealed).map_err(|error| error.to_string()));
        let published = publish_until(&filling.log, &sealed);
        let (start, end) = watching.join().map_err(|_| "the watcher panicked")??;
        Ok(split(&published?, start, end))
    })
}

/// An entry as small as can be, of a topic of its own.
fn of_topic(number: u64) -> Option<Publication> {
    Some(Publication::new(Topic::new(&format!("t/{number:07}")).ok()?, ""))
}

/// Bytes that such an entry takes in a segment.
fn bytes_of_topic(bench: &Bench) -> Outcome<f64> {
    const SOME: u64 = 10_000;
    let folder = bench.folder()?;
    Filling::open(folder.path(), DiskOptions::default())?.append((0..SOME).filter_map(of_topic))?;
    Ok(newest_commit_bytes(folder.path())? as f64 / SOME as f64)
}

/// Publishes one event after the other, until some after the end of sealing.
fn publish_until(log: &DiskLog, sealed: &AtomicBool) -> Outcome<Vec<(Instant, Instant)>> {
    let topic = Topic::new("orders")?;
    let (deadline, mut all) = (Instant::now() + PATIENCE, Vec::new());
    while !sealed.load(Ordering::Relaxed) && Instant::now() < deadline {
        let start = Instant::now();
        block_on(log.append(vec![Publication::new(topic.clone(), "x".repeat(DATA))]))?;
        all.push((start, Instant::now()));
    }
    Ok(all)
}

/// When sealing starts and ends: from the next segment, or the first bytes of the index, whichever
/// is there first, until the index is whole.
fn watch(folder: &Path, sealed: &AtomicBool) -> Outcome<(Instant, Instant)> {
    let deadline = Instant::now() + PATIENCE;
    let mut start = None;
    loop {
        let names =
            fs::read_dir(folder)?.map(|file| Ok(file?.file_name().to_string_lossy().into_owned()));
        let names = names.collect::<Outcome<Vec<_>>>()?;
        let segments = names.iter().filter(|name| name.ends_with(".segment")).count();
        let now = Instant::now();
        if segments > 1 || names.iter().any(|name| name.contains(".index")) {
            start.get_or_insert(now);
        }
        if let Some(start) =
            start.filter(|_| segments > 1 && names.iter().any(|name| name.ends_with(".index")))
        {
            // A publication that is under way at this moment belongs to it, and is waited for.
            sealed.store(true, Ordering::Relaxed);
            return Ok((start, now));
        }
        if now > deadline {
            sealed.store(true, Ordering::Relaxed);
            return Err("no segment was sealed".into());
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// What was under way between `start` and `end`, and the rest, in seconds.
fn split(published: &[(Instant, Instant)], start: Instant, end: Instant) -> Sealed {
    let (meanwhile, otherwise): (Vec<_>, Vec<_>) =
        published.iter().partition(|(began, ended)| *ended >= start && *began <= end);
    let rising = |all: Vec<&(Instant, Instant)>| {
        let mut all: Vec<_> =
            all.iter().map(|(began, ended)| (*ended - *began).as_secs_f64()).collect();
        all.sort_unstable_by(f64::total_cmp);
        all
    };
    Sealed {
        otherwise: rising(otherwise),
        meanwhile: rising(meanwhile),
        took: (end - start).as_secs_f64(),
    }
}
