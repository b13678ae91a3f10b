//! The cost of a long history that is not read: memory, and time to open it after a crash.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use std::{env, fs};

use carafe_log::{Append, DiskLog, DiskOptions, Read};
use futures_executor::block_on;

use crate::figure::{Figure, Limit};
use crate::outcome::Outcome;
use crate::segment;
use crate::workload::{publication, topics};

const TOPICS: usize = 10_000;
const BATCH: usize = 10_000;

/// Bytes of an entry's data.
const SMALL: usize = 20;

/// Fills a log in one process, kills that, and opens the log in another.
pub(crate) fn measure(folder: &Path, entries: u64) -> Outcome {
    let mut filling = this_program("fill", folder)?.stdout(Stdio::piped()).spawn()?;
    let filled = wait_for(&mut filling, entries);
    filling.kill()?;
    filling.wait()?;
    filled?;
    let opened = this_program("open", folder)?.status()?;
    if opened.success() {
        Ok(())
    } else {
        Err(format!("opening the log ended with {opened}").into())
    }
}

fn this_program(chore: &str, folder: &Path) -> Outcome<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.arg(chore).arg(folder).stdin(Stdio::null());
    Ok(command)
}

/// Reads the tails that the process prints until there are as many entries.
fn wait_for(filling: &mut Child, entries: u64) -> Outcome {
    let tails = filling.stdout.take().ok_or("the process that fills the log printed nothing")?;
    for tail in BufReader::new(tails).lines() {
        if tail?.parse::<u64>()? >= entries {
            return Ok(());
        }
    }
    Err("the process that fills the log ended early".into())
}

/// Appends batches until killed, and prints the tail after each.
pub(crate) fn fill(folder: &Path) -> Outcome {
    let log = DiskLog::open(folder, DiskOptions::default())?;
    let topics = topics(TOPICS)?;
    loop {
        let batch =
            topics.iter().cycle().take(BATCH).map(|topic| publication(topic, SMALL)).collect();
        block_on(log.append(batch))?;
        println!("{}", log.span().tail.offset);
    }
}

/// Opens the log and prints what that took.
pub(crate) fn open(folder: &Path) -> Outcome {
    let (start, before) = (Instant::now(), resident_kib()?);
    let log = DiskLog::open(folder, DiskOptions::default())?;
    let (seconds, after) = (start.elapsed().as_secs_f64(), resident_kib()?);
    let (entries, scanned) = (log.span().tail.offset, entries_of_newest_segment(&log, folder)?);
    println!(
        "idle log of {entries} entries: opened after kill -9 in {seconds:.2} s, reading the newest \
         {scanned}"
    );
    let value = f64::from(after - before) / 1024.0;
    println!("{}", Figure { name: "idle log: resident MiB", value, limit: Limit::AtMost(64.0) });
    Ok(())
}

/// Opening reads them all, and their index is held in memory.
fn entries_of_newest_segment(log: &DiskLog, folder: &Path) -> Outcome<u64> {
    let newest = segment::paths(folder)?.pop().ok_or("the log has no segment")?;
    let first = newest
        .file_stem()
        .and_then(OsStr::to_str)
        .ok_or("a segment is named by its first offset")?;
    Ok(log.span().tail.offset + 1 - first.parse::<u64>()?)
}

fn resident_kib() -> Outcome<u32> {
    let status = fs::read_to_string("/proc/self/status")?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
    Ok(resident.ok_or("/proc/self/status has no VmRSS")?.trim().parse()?)
}
