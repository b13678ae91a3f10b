//! What publishers gain from sharing a sync.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use carafe_log::{Append, AppendError, DiskLog, DiskOptions};
use carafe_protocol::Topic;
use futures_executor::block_on;
use futures_util::future::try_join_all;

use crate::figure::{Figure, Limit};
use crate::outcome::Outcome;
use crate::turns::in_turns;
use crate::workload::{DATA, publication, topics};

const PUBLISHERS: usize = 256;

/// Threads that the many publishers run on.
const THREADS: usize = 4;

/// How long each side of a round publishes.
const TURN: Duration = Duration::from_millis(300);

pub(crate) fn measure(folder: &Path, rounds: usize) -> Outcome {
    let log = DiskLog::open(folder, DiskOptions::default())?;
    let topics = topics(PUBLISHERS)?;
    let turns = in_turns(
        rounds,
        || events_a_second(&log, &topics, THREADS),
        || events_a_second(&log, &topics[..1], 1),
    )?;
    println!(
        "{PUBLISHERS} publishers: {:.0} events/s; one publisher: {:.0} events/s",
        turns.one.median(),
        turns.other.median()
    );
    let name = "256 publishers / one publisher, in events a second";
    println!("{}", Figure { name, value: turns.ratio(), limit: Limit::AtLeast(20.0) });
    Ok(())
}

/// With one publisher for each topic, each with one event in flight.
fn events_a_second(log: &DiskLog, topics: &[Topic], threads: usize) -> Outcome<f64> {
    let start = Instant::now();
    let events = thread::scope(|scope| {
        let publish = |topics: &[Topic]| {
            let all = topics.iter().map(|topic| publish_until(log, topic, start + TURN));
            block_on(try_join_all(all)).map(|events| events.iter().sum::<u32>())
        };
        let threads = topics
            .chunks(topics.len() / threads)
            .map(|topics| scope.spawn(move || publish(topics)));
        let threads: Vec<_> = threads.collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| "a publisher panicked"))
            .collect::<Vec<_>>()
    });
    let mut sum = 0;
    for events in events {
        sum += events??;
    }
    Ok(f64::from(sum) / start.elapsed().as_secs_f64())
}

async fn publish_until(log: &DiskLog, topic: &Topic, end: Instant) -> Result<u32, AppendError> {
    let mut events = 0;
    while Instant::now() < end {
        log.append(vec![publication(topic, DATA)]).await?;
        events += 1;
    }
    Ok(events)
}
