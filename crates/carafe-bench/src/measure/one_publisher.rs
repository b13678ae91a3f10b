//! What one publisher waits for, beside the disk.

use std::path::Path;

use carafe_log::{Append, DiskLog, DiskOptions};
use futures_executor::block_on;

use crate::bare::Bare;
use crate::figure::{Figure, Limit};
use crate::outcome::Outcome;
use crate::segment::newest_commit_bytes;
use crate::turns::{Side, in_turns, seconds};
use crate::workload::{DATA, publication, topics};

/// Appends in one round, each in turn with a bare write: a sync costs now so much and now three
/// times that.
const APPENDS: usize = 200;

pub(crate) fn measure(folder: &Path, rounds: usize) -> Outcome {
    let path = folder.join("log");
    let log = DiskLog::open(&path, DiskOptions::default())?;
    let topic = &topics(1)?[0];
    let append =
        || -> Outcome { Ok(block_on(log.append(vec![publication(topic, DATA)])).map(drop)?) };
    append()?;
    let bytes = newest_commit_bytes(&path)?;
    let mut bare = Bare::create(&folder.join("bare"), bytes, rounds * APPENDS)?;
    let turns =
        in_turns(rounds * APPENDS, || seconds(append), || seconds(|| bare.write_and_sync()))?;
    println!(
        "one publisher, {bytes} bytes a commit: append {}, bare {}",
        micros(&turns.one),
        micros(&turns.other)
    );
    let name = "one publisher: append / bare write+fdatasync";
    println!("{}", Figure { name, value: turns.ratio(), limit: Limit::AtMost(1.3) });
    Ok(())
}

/// On a shared disk the median may hide the cost of the log; the fastest rounds show it best.
fn micros(side: &Side) -> String {
    format!("{:.0} µs (quickest tenth: {:.0} µs)", side.median() * 1e6, side.lowest_tenth() * 1e6)
}
