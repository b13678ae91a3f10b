//! The measurement on the network of this process.

use super::measured::Measured;
use super::options::Options;
use super::replay::Pair;
use crate::outcome::Outcome;
use crate::server::carafe;

/// Bytes of an event's data.
const EVENTS: [usize; 3] = [100, 1_000, 300_000];
const STREAMS: [usize; 2] = [1, 100];

/// Bytes of data that all streams of a replay take together.
const BYTES: usize = 40_000_000;

pub(super) fn measure_here(options: &Options) -> Outcome<Vec<Measured>> {
    let carafe = carafe(options.carafe.as_deref())?;
    let (rounds, bytes) =
        if options.quick { (1, BYTES / 10) } else { (options.rounds.max(1), BYTES) };
    let mut all = Vec::new();
    for event in EVENTS {
        for streams in STREAMS {
            let pair = Pair::start(&carafe, event, bytes / streams)?;
            all.push(pair.measure(streams, rounds, false)?);
            all.push(pair.measure(streams, rounds, true)?);
        }
    }
    Ok(all)
}
