//! What a batch costs beside the disk, such as a publisher sends as one NDJSON request.

use std::path::Path;

use carafe_log::{Append, DiskLog, DiskOptions, Publication};
use futures_executor::block_on;

use crate::bare::Bare;
use crate::figure::{Figure, Limit};
use crate::outcome::Outcome;
use crate::segment::newest_commit_bytes;
use crate::turns::{in_turns, seconds};
use crate::workload::{DATA, publication, topics};

/// Events in a batch.
const EVENTS: usize = 1000;

/// Batches in one round, each in turn with a bare write.
const BATCHES: usize = 10;

pub(crate) fn measure(folder: &Path, rounds: usize) -> Outcome {
    let path = folder.join("log");
    let log = DiskLog::open(&path, DiskOptions::default())?;
    let topics = topics(EVENTS)?;
    let batch = || topics.iter().map(|topic| publication(topic, DATA)).collect::<Vec<_>>();
    let append =
        |batch: Vec<Publication>| -> Outcome { Ok(block_on(log.append(batch)).map(drop)?) };
    append(batch())?;
    let bytes = newest_commit_bytes(&path)?;
    let mut bare = Bare::create(&folder.join("bare"), bytes, rounds * BATCHES)?;
    let turns = in_turns(
        rounds * BATCHES,
        || seconds(|| bare.write_and_sync()),
        || {
            let batch = batch();
            seconds(|| append(batch))
        },
    )?;
    let rate = |seconds: f64| bytes as f64 / seconds / 1e6;
    println!(
        "batches of {EVENTS}: {:.0} MB/s, {:.0} events/s; bare write of {bytes} bytes and \
         fdatasync: {:.0} MB/s",
        rate(turns.other.median()),
        EVENTS as f64 / turns.other.median(),
        rate(turns.one.median()),
    );
    let name = "batches of 1000: append / bare group commit, in bytes a second";
    println!("{}", Figure { name, value: turns.ratio(), limit: Limit::AtLeast(0.3) });
    Ok(())
}
