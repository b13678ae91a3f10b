//! A million subscribers on one machine.

use std::path::PathBuf;
use std::time::Instant;

use crate::child::raise_descriptor_limit;
use crate::driver::Load;
use crate::outcome::Outcome;
use crate::server::{Server, carafe};
use crate::subject::Subject;
use crate::usage::{self, Memory};

/// Descriptors that are none of a subscriber's.
const OTHERS: u64 = 500;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many subscribers
    #[arg(long, default_value_t = 1_000_000)]
    subscribers: usize,
    /// Subscribers of one process [default: what the limit on open files lets it have, 18000 at
    /// most]
    #[arg(long)]
    each: Option<usize>,
    /// Events that all get
    #[arg(long, default_value_t = 3)]
    events: usize,
    /// The program to measure
    #[arg(long)]
    carafe: Option<PathBuf>,
}

/// A hub, and the load that has its subscribers.
struct Pair {
    server: Server,
    load: Load,
    subscribers: usize,
}

pub(crate) fn measure(options: &Options) -> Outcome {
    let most = usize::try_from(raise_descriptor_limit()? - OTHERS)?.min(18_000);
    let each = options.each.unwrap_or(most).clamp(1, most);
    let (start, kernel) = (Instant::now(), usage::kernel()?);
    let mut pairs = (0..options.subscribers.div_ceil(each))
        .map(|number| Pair::start(options, each.min(options.subscribers - number * each)))
        .collect::<Outcome<Vec<_>>>()?;
    pairs.iter().try_for_each(|pair| pair.load.wait_until_connected())?;
    let count = pairs.len();
    println!(
        "{count} hubs and {count} loads; {} streams open in {:.1} s",
        options.subscribers,
        seconds(start)
    );
    tell_memory(&pairs, kernel, "idle")?;
    publish(options, &mut pairs)?;
    tell_memory(&pairs, kernel, "after traffic")?;
    println!("all of it took {:.1} s", seconds(start));
    pairs
        .iter_mut()
        .try_for_each(|pair| pair.load.begin_to_kill().and_then(|()| pair.server.begin_to_kill()))
}

/// Each load generator publishes to its own hub, and fails if an event is missing or doubled.
fn publish(options: &Options, pairs: &mut [Pair]) -> Outcome {
    let start = Instant::now();
    pairs.iter_mut().try_for_each(|pair| pair.load.go())?;
    let deliveries =
        pairs.iter().map(|pair| Ok(pair.load.report()?.deliveries)).sum::<Outcome<u64>>()?;
    let due = (options.subscribers * options.events) as u64;
    if deliveries != due {
        return Err(format!("{deliveries} deliveries instead of {due}").into());
    }
    println!(
        "{deliveries} deliveries in {:.1} s: {} events to all, none missing, none twice",
        seconds(start),
        options.events
    );
    Ok(())
}

fn seconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64()
}

impl Pair {
    fn start(options: &Options, subscribers: usize) -> Outcome<Self> {
        let carafe = carafe(options.carafe.as_deref())?;
        let server = Subject::Carafe.start(&carafe, None)?;
        let options = format!("-c {subscribers} -n {} --timeout 300s", options.events);
        let load = Load::start(&server.url("/events/bench"), &options, None)?;
        Ok(Self { server, load, subscribers })
    }
}

/// User memory of the hubs and of the loads, and what the kernel has for both ends.
fn tell_memory(pairs: &[Pair], kernel_before: u64, when: &str) -> Outcome {
    let hubs =
        pairs.iter().map(|pair| Ok(pair.server.memory()?.anonymous)).sum::<Outcome<u64>>()?;
    let loads =
        pairs.iter().map(|pair| Ok(Memory::of(pair.load.id())?.anonymous)).sum::<Outcome<u64>>()?;
    let kernel = usage::kernel()?.saturating_sub(kernel_before);
    let subscribers: usize = pairs.iter().map(|pair| pair.subscribers).sum();
    let shown = |bytes: u64| {
        format!("{:.0} MB ({} bytes a subscriber)", bytes as f64 / 1e6, bytes / subscribers as u64)
    };
    println!("{when}: user memory of the hubs {}, of the loads {}", shown(hubs), shown(loads));
    println!("{when}: kernel, both ends, {}", shown(kernel));
    Ok(())
}
