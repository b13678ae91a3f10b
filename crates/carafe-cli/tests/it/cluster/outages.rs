//! How long publishing does not work after each fault of a run.

use std::time::Duration;

use super::load::Load;

/// A wide bound. The election of a leader takes up to 9 s on a quiet machine, and everything else
/// less.
const LONGEST: Duration = Duration::from_secs(30);

/// The times from each fault until publishing works again.
pub(crate) struct Outages {
    fault: &'static str,
    /// How long each fault itself lasts.
    lasts: Duration,
    times: Vec<Duration>,
}

impl Outages {
    pub(crate) fn after(fault: &'static str) -> Self {
        Self { fault, lasts: Duration::ZERO, times: Vec::new() }
    }

    /// Measures from the end of a fault that lasts this long.
    pub(crate) fn lasting(mut self, lasts: Duration) -> Self {
        self.lasts = lasts;
        self
    }

    /// Call it before each fault.
    pub(crate) fn begin(&self, load: &Load) {
        load.oracle.longest_pause();
    }

    /// Waits until publishing works again.
    pub(crate) async fn end(&mut self, load: &Load) {
        self.add(load.outage().await.saturating_sub(self.lasts));
    }

    /// Adds a time that was measured in another way.
    pub(crate) fn add(&mut self, outage: Duration) {
        println!("{} {}: publishing works after {outage:?}", self.fault, self.times.len() + 1);
        assert!(outage < LONGEST, "{}: publishing works after {outage:?}", self.fault);
        self.times.push(outage);
    }
}

impl Drop for Outages {
    fn drop(&mut self) {
        self.times.sort_unstable();
        let middle = self.times.len() / 2;
        if let (Some(first), Some(last)) = (self.times.first(), self.times.last()) {
            println!(
                "{} times {}: publishing works after {first:?} to {last:?}, {:?} in the middle",
                self.times.len(),
                self.fault,
                self.times[middle]
            );
        }
    }
}
