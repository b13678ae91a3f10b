//! How fast the history of one topic among many is read, against reading the same bytes.

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;

use carafe_log::{Append, BlockLimit, DiskLog, DiskOptions, Read};
use carafe_protocol::{Topic, TopicMatcher};
use futures_executor::block_on;

use crate::figure::{Figure, Limit};
use crate::outcome::Outcome;
use crate::segment::{self, Place, Segment};
use crate::turns::{in_turns, seconds};
use crate::workload::{DATA, publication, topics};

const TOPICS: usize = 10_000;
const ENTRIES: usize = 1_000_000;

/// One entry in so many is of the topic that is read.
const EVERY: usize = 10;

const BATCH: usize = 10_000;
const BLOCK: BlockLimit = BlockLimit { entries: 256, bytes: 64 << 10 };

pub(crate) fn measure(folder: &Path, rounds: usize) -> Outcome {
    let log = DiskLog::open(folder, DiskOptions::default())?;
    let topics = topics(TOPICS)?;
    fill(&log, &topics)?;
    let records = records(folder, &topics[0])?;
    let bytes: usize =
        records.iter().flat_map(|(_, places)| places).map(|place| place.length).sum();
    let turns = in_turns(
        rounds,
        || seconds(|| read_bare(&records)),
        || seconds(|| read_log(&log, &topics[0])),
    )?;
    let rate = |round: f64| bytes as f64 / round / 1e6;
    println!(
        "replay of {} entries among {ENTRIES}: {:.0} MB/s; bare read of the same bytes: {:.0} MB/s",
        ENTRIES / EVERY,
        rate(turns.other.median()),
        rate(turns.one.median()),
    );
    let name = "replay of one topic in 10000: log / bare read, in bytes a second";
    println!("{}", Figure { name, value: turns.ratio(), limit: Limit::AtLeast(0.5) });
    Ok(())
}

fn fill(log: &DiskLog, topics: &[Topic]) -> Outcome {
    let mut others = topics[1..].iter().cycle();
    for _ in 0..ENTRIES / BATCH {
        let topic = |number: usize| {
            if number.is_multiple_of(EVERY) { Some(&topics[0]) } else { others.next() }
        };
        let batch = (0..BATCH).filter_map(topic).map(|topic| publication(topic, DATA)).collect();
        block_on(log.append(batch))?;
    }
    Ok(())
}

/// Where the topic's records stand; reading them for that warms the page cache too.
fn records(log: &Path, topic: &Topic) -> Outcome<Vec<(File, Vec<Place>)>> {
    let of_segment = |path| {
        let segment = Segment::read(path)?;
        Ok((File::open(&segment.path)?, segment.records_of(topic.as_str())))
    };
    segment::paths(log)?.into_iter().map(of_segment).collect()
}

fn read_bare(records: &[(File, Vec<Place>)]) -> Outcome {
    let mut buffer = Vec::new();
    for (file, places) in records {
        for place in places {
            buffer.resize(place.length, 0);
            file.read_exact_at(&mut buffer, place.at as u64)?;
            black_box(&buffer);
        }
    }
    Ok(())
}

fn read_log(log: &DiskLog, topic: &Topic) -> Outcome {
    let wanted = vec![TopicMatcher::from(topic.clone())];
    let (mut position, tail, mut entries) = (log.span().start, log.span().tail, 0);
    while position != tail {
        let block = block_on(log.read(position.offset, wanted.clone(), BLOCK))?;
        entries += block.entries.len();
        position = block.up_to;
    }
    if entries == ENTRIES / EVERY {
        Ok(())
    } else {
        Err(format!("{entries} entries were read").into())
    }
}
