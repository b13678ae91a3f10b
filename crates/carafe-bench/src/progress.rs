//! The progress bar of a run, on terminals.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::load::Load;

/// The interval at which the bar is redrawn.
const PERIOD: Duration = Duration::from_millis(100);

pub(crate) struct Progress {
    bar: ProgressBar,
    shown: Instant,
}

impl Progress {
    /// Hidden if standard error is not a terminal.
    pub(crate) fn new(connections: usize) -> Self {
        let bar = ProgressBar::new(connections as u64);
        let style = ProgressStyle::with_template("{bar:30} {pos} of {len} connections open {msg}");
        bar.set_style(style.expect("the template is right"));
        Self { bar, shown: Instant::now() }
    }

    pub(crate) fn show(&mut self, load: &Load, published: u64) {
        if self.shown.elapsed() < PERIOD {
            return;
        }
        self.shown = Instant::now();
        self.bar.set_position(load.fleet.open() as u64);
        if published > 0 {
            let in_flight = load.in_flight();
            self.bar.set_message(format!("· {published} events published, {in_flight} in flight"));
        }
    }

    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
