//! Lets the streams of an HTTP/2 connection share a write.
//!
//! An event wakes the tasks of all streams that it is for. The first that runs passes its frame to
//! the connection, whose task runs next and flushes, before the other streams have run. So a flush
//! gives way once to the tasks that are ready, and then sends the frames of all.

/// So many flushes that have waited in vain end the waiting: the connection has one busy stream.
const IN_VAIN: u8 = 3;

/// After that, one flush of so many waits, in case it has more streams by now.
const ATTEMPT: u8 = 16;

/// Decides which flushes wait.
#[derive(Default)]
pub(crate) struct FlushDelay {
    /// How many bytes were to be sent when the flush that waits was requested.
    waiting: Option<usize>,
    /// Flushes in a row that have waited in vain.
    in_vain: u8,
    /// Flushes that have not waited since the last that has.
    passed: u8,
}

impl FlushDelay {
    /// Whether a flush of so many bytes has to be requested again, after other tasks have run.
    pub(crate) fn waits(&mut self, bytes: usize) -> bool {
        if let Some(before) = self.waiting.take() {
            // Fewer: so many more were written that some had to be sent.
            let is_shared = bytes != before;
            self.in_vain = if is_shared { 0 } else { (self.in_vain + 1).min(IN_VAIN) };
            return false;
        }
        let is_due = self.in_vain < IN_VAIN || self.passed + 1 == ATTEMPT;
        if bytes == 0 || !is_due {
            self.passed = (self.passed + u8::from(bytes > 0)) % ATTEMPT;
            return false;
        }
        (self.waiting, self.passed) = (Some(bytes), 0);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flush_waits_once_while_others_write_meanwhile() {
        let mut delay = FlushDelay::default();
        for _ in 0..100 {
            assert!(delay.waits(10));
            assert!(!delay.waits(500));
            assert!(!delay.waits(0), "nothing is left");
        }
        assert!(delay.waits(10));
        assert!(!delay.waits(3), "more than a record was written");
        assert!(delay.waits(10));
    }

    #[test]
    fn flushes_that_wait_in_vain_are_few() {
        let mut delay = FlushDelay::default();
        let waited = (0..1600).filter(|_| delay.waits(10) && !delay.waits(10)).count();
        assert_eq!(waited, 3 + 1600 / 16 - 1);
        while !delay.waits(10) {}
        assert!(!delay.waits(20));
        assert!(delay.waits(10), "the connection has several streams now");
    }
}
