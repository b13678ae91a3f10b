//! Long work in the background that gives way to publishing.

use std::cell::Cell;
use std::thread;

/// The number of steps between two pauses: well below a millisecond of work.
const STEPS: u32 = 512;

/// Divides long work into steps and yields the processor between some of them.
///
/// The scheduler lets a thread finish its time slice of some milliseconds, even if the writer is
/// ready to run on the same processor. A commit would wait that long. A thread that yields gives
/// the rest of its slice up.
pub(crate) struct Pace<'a> {
    steps: Cell<u32>,
    /// Whether others wait for the work, so that it must not pause.
    is_urgent: &'a dyn Fn() -> bool,
}

impl<'a> Pace<'a> {
    pub(crate) fn new(is_urgent: &'a dyn Fn() -> bool) -> Self {
        Self { steps: Cell::new(0), is_urgent }
    }

    /// For work that a caller waits for.
    pub(crate) fn urgent() -> Self {
        Self::new(&|| true)
    }

    /// Counts a step, such as a comparison or the encoding of one entry.
    pub(crate) fn step(&self) {
        self.steps.set(self.steps.get() + 1);
        if self.steps.get() >= STEPS {
            self.pause();
        }
    }

    pub(crate) fn pause(&self) {
        self.steps.set(0);
        if !(self.is_urgent)() {
            thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_pauses_after_a_number_of_steps() {
        let pauses = Cell::new(0);
        let is_urgent = || {
            pauses.set(pauses.get() + 1);
            false
        };
        let pace = Pace::new(&is_urgent);
        (1..STEPS).for_each(|_| pace.step());
        assert_eq!(pauses.get(), 0);
        pace.step();
        assert_eq!(pauses.get(), 1);
        pace.pause();
        (0..2 * STEPS).for_each(|_| pace.step());
        assert_eq!(pauses.get(), 4);
    }
}
