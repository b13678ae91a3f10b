//! The limits of the hub that is attacked, and the memory that it may take by them.

use std::fs;

use super::formula::Formula;
use crate::outcome::Outcome;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Files that the hub may have open: fewer than attackers and honest clients want together.
pub(super) const DESCRIPTORS: u64 = 4096;

const SEGMENT: u64 = 16 * MIB;
const EVENT: u64 = 64 * KIB;
const SUBSCRIBERS: u64 = 1500;
const COMPLEX_PATTERNS: u64 = 200;
const ENDED_TOPICS: u64 = 1000;
const ERASURES: u64 = 100;

/// Of an address: honest clients keep to it.
const SUBSCRIBERS_OF_ADDRESS: u64 = 50;

/// Connections over HTTP/2 that attackers have at a time, and some that are about to be closed.
const OVER_HTTP_2: u64 = 32;

/// The options that set them.
pub(super) fn options() -> Vec<String> {
    vec![
        format!("--segment-bytes={SEGMENT}B"),
        format!("--event-bytes={EVENT}B"),
        format!("--subscribers={SUBSCRIBERS}"),
        format!("--subscribers-per-address={SUBSCRIBERS_OF_ADDRESS}"),
        format!("--complex-patterns={COMPLEX_PATTERNS}"),
        format!("--ended-topics={ENDED_TOPICS}"),
        format!("--erasures={ERASURES}"),
    ]
}

/// Bytes that the hub may take, by the table "Memory" in docs/OPERATIONS.md.
pub(super) fn memory() -> Outcome<u64> {
    // Read at run time: the file is not part of the crate.
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/OPERATIONS.md"))
        .map_err(|error| format!("docs/OPERATIONS.md: {error}"))?;
    let section =
        page.split_once("\n## Memory\n").ok_or("docs/OPERATIONS.md has no section on memory")?.1;
    let rows = section.lines().take_while(|line| !line.starts_with("## ")).filter_map(row);
    rows.map(|(what, most)| Ok(Formula(most).sum(&value)? * times(what))).sum()
}

/// What it is, and the most that it takes, of a row below the table's head.
fn row(line: &str) -> Option<(&str, &str)> {
    let (what, most) = line.strip_prefix("| ")?.split_once(" | ")?;
    (what != "what" && !what.starts_with("---")).then_some((what, most))
}

/// How many there are of what the formula has for each.
fn times(what: &str) -> u64 {
    match what {
        "connections" => DESCRIPTORS,
        "connections over HTTP/2" => OVER_HTTP_2,
        "history, if it is in memory" => 0,
        _ => 1,
    }
}

/// What an option is here.
fn value(option: &str) -> Option<u64> {
    Some(match option {
        "--body-bytes-in-flight" | "--waiting-bytes" | "--ring-bytes" | "--snapshot-bytes" => {
            64 * MIB
        }
        "--latest-events" => 100_000,
        "--history-bytes" => 0,
        "--segment-bytes" => SEGMENT,
        "--event-bytes" => EVENT,
        "--header-bytes" => 16 * KIB,
        "--subscribers" => SUBSCRIBERS,
        "--complex-patterns" => COMPLEX_PATTERNS,
        "--ended-topics" => ENDED_TOPICS,
        "--erasures" => ERASURES,
        "--readers" => 4,
        "--replays" => 64,
        "--revocations" => 10_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::memory;

    #[test]
    fn the_formula_of_the_docs_is_understood() {
        assert!(memory().unwrap() > 256 << 20);
    }
}
