//! How fast clients catch up, directly and through nginx on the same host, beside a bare loop of
//! writes.

mod bare;
mod network;
mod replay;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::document;
use crate::figure::Limit;
use crate::noise::Noise;
use crate::results::Results;
use crate::section::Section;
use crate::series::Series;
use crate::subject::carafe;

pub(crate) use bare::serve as serve_bare;

/// Bytes of an event's data.
const EVENTS: [usize; 3] = [100, 1_000, 300_000];
const STREAMS: [usize; 2] = [1, 100];

/// Bytes of data that all streams of a replay take together.
const BYTES: usize = 40_000_000;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often the servers take turns
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Measure a tenth, once: to see that it runs
    #[arg(long)]
    quick: bool,
    /// Fail if an aim is missed
    #[arg(long)]
    check: bool,
    /// Write the part of bench/RESULTS.md, and bench/catch-up.svg
    #[arg(long)]
    write: bool,
    /// The program to measure
    #[arg(long)]
    carafe: Option<PathBuf>,
    /// Measure on the network that is there, and tell the figures as JSON
    #[arg(long, hide = true)]
    here: bool,
}

/// What was measured of one kind of replay, round by round.
#[derive(Serialize, Deserialize)]
pub(crate) struct Measured {
    event: usize,
    streams: usize,
    through_nginx: bool,
    /// Bytes a second, and seconds of the server's processor time for a gigabyte.
    hub: Vec<Rate>,
    bare: Vec<Rate>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Rate {
    bytes: f64,
    processor: f64,
}

pub(crate) fn measure(options: &Options) -> Outcome {
    if options.here {
        println!("{}", serde_json::to_string(&measure_here(options)?)?);
        return Ok(());
    }
    let mut results = Results::new(options.quick);
    for mtu in [network::LOOPBACK, network::ETHERNET] {
        let noise = Noise::listen()?;
        let mut section = Section::new(format!("Catching up over {mtu}"));
        match network::run(mtu, options) {
            Ok(measured) => tell(&mut section, &measured),
            Err(reason) => section.note(format!("Skipped: {reason}")),
        }
        section.note(noise.to_string()?);
        println!("{section}");
        results.add(section);
    }
    results.finish(options.write.then_some(document::Part::CatchUp), options.check)
}

fn measure_here(options: &Options) -> Outcome<Vec<Measured>> {
    let carafe = carafe(options.carafe.as_deref())?;
    let (rounds, bytes) =
        if options.quick { (1, BYTES / 10) } else { (options.rounds.max(1), BYTES) };
    let mut all = Vec::new();
    for event in EVENTS {
        for streams in STREAMS {
            let pair = replay::Pair::start(&carafe, event, bytes / streams)?;
            all.push(pair.measure(streams, rounds, false)?);
            all.push(pair.measure(streams, rounds, true)?);
        }
    }
    Ok(all)
}

fn tell(section: &mut Section, all: &[Measured]) {
    section.head(&[
        "events of, bytes",
        "streams",
        "through",
        "Carafe, MB/s",
        "bare loop, MB/s",
        "Carafe / bare loop",
        "Carafe, s of processor a GB",
    ]);
    let mut bars = Vec::new();
    for measured in all {
        let of = |rates: &[Rate]| rates.iter().map(|rate| rate.bytes / 1e6).collect::<Vec<_>>();
        let (hub, bare) = (of(&measured.hub), of(&measured.bare));
        let ratio = Series::ratio(&hub, &bare);
        if measured.through_nginx {
            bars.push((format!("{} x {} bytes", measured.streams, measured.event), ratio.median()));
        }
        let way = if measured.through_nginx { "nginx" } else { "nothing" };
        section.row(vec![
            measured.event.to_string(),
            measured.streams.to_string(),
            way.into(),
            Series::of(hub).to_string(),
            Series::of(bare).to_string(),
            ratio.to_string(),
            Series::of(measured.hub.iter().map(|rate| rate.processor)).to_string(),
        ]);
        // Of small events, reading and framing them costs more than the bare loop's writes.
        if measured.through_nginx && measured.event >= 1_000 {
            let name = format!(
                "{} x {} bytes through nginx, Carafe / bare loop",
                measured.streams, measured.event
            );
            section.demand(name, ratio, Limit::AtLeast(0.8));
        }
    }
    section.plot("Replay through nginx, Carafe / bare loop", bars);
}
