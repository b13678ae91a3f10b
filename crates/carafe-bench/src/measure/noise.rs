//! What others do on the machine while something is measured.

use std::fs;
use std::time::Instant;

use rustix::param::clock_ticks_per_second;

use crate::outcome::Outcome;
use crate::section::Section;

/// Since when, and what had been done by then.
pub(crate) struct Noise {
    start: Instant,
    machine: u64,
    own: u64,
}

/// Measures a section, and notes in it what others did meanwhile.
pub(crate) fn noted(measure: impl FnOnce() -> Outcome<Section>) -> Outcome<Section> {
    let noise = Noise::listen()?;
    let mut section = measure()?;
    section.note(noise.to_string()?);
    Ok(section)
}

impl Noise {
    pub(crate) fn listen() -> Outcome<Self> {
        Ok(Self { start: Instant::now(), machine: machine()?, own: own()? })
    }

    /// In words.
    pub(crate) fn to_string(&self) -> Outcome<String> {
        let others = (machine()? - self.machine).saturating_sub(own()? - self.own);
        let cores =
            others as f64 / clock_ticks_per_second() as f64 / self.start.elapsed().as_secs_f64();
        Ok(format!("Other programs took {cores:.2} cores meanwhile."))
    }
}

/// Ticks that all cores have worked, or were not given to this machine: user nice system idle
/// iowait irq softirq steal.
fn machine() -> Outcome<u64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let first = stat.lines().next().ok_or("/proc/stat is empty")?;
    let ticks =
        first.split_ascii_whitespace().skip(1).map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    Ok(ticks.iter().take(8).sum::<u64>() - ticks.iter().skip(3).take(2).sum::<u64>())
}

/// Ticks that this process and those that it has started, and that have ended, have worked.
fn own() -> Outcome<u64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, after_name) = stat.rsplit_once(')').ok_or("/proc/self/stat has no name")?;
    // utime stime cutime cstime are the 14th to 17th, the name the second.
    let ticks = after_name.split_ascii_whitespace().skip(11).take(4).map(str::parse::<u64>);
    Ok(ticks.sum::<Result<_, _>>()?)
}
