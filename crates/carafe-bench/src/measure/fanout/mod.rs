//! The cost of delivering events to many subscribers, compared with the floor of plain writes and
//! with other servers.

mod authorised;
mod churn;
mod delivery;
mod idle;
mod stalled;
mod topics;
mod writes;

use clap::ValueEnum;

use crate::bench::Bench;
use crate::document;
use crate::outcome::Outcome;
use crate::parts;
use crate::section::Section;

pub(crate) type Options = parts::Options<Part>;

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// One event in flight to 10,000
    One,
    /// 16 events in flight to 10,000
    Window,
    /// 10,000 subscribers of 1,000 topics
    Topics,
    /// 1,000 connections, 2,000 reconnects a second
    Churn,
    /// Memory of idle connections, between 2,000 and 18,000
    Idle,
    /// 8,000 of 16,000 connections stop reading
    Stalled,
    /// System calls for a delivery, as strace counts them
    Writes,
    /// Subscribing with a token
    Authorised,
}

pub(crate) fn measure(options: &Options) -> Outcome {
    let bench = options.bench()?;
    options.measure(document::Part::Fanout, |part| part_of(&bench, part))
}

fn part_of(bench: &Bench, part: Part) -> Outcome<Section> {
    match part {
        Part::One => delivery::one_in_flight(bench),
        Part::Window => delivery::window(bench),
        Part::Topics => topics::measure(bench),
        Part::Churn => churn::measure(bench),
        Part::Idle => idle::measure(bench),
        Part::Stalled => stalled::measure(bench),
        Part::Writes => writes::measure(bench),
        Part::Authorised => authorised::measure(bench),
    }
}
