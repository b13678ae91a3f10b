//! What a stream sends after a silence.

use std::time::Duration;

/// The bit of a heartbeat that is an event.
const EVENT: u8 = 1 << 7;

/// What a stream sends after a silence, and after how long, as its client requests it.
///
/// ```
/// use std::time::Duration;
/// use carafe_hub::{Format, Heartbeat, Hub};
/// use carafe_log::MemoryLog;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::new(MemoryLog::default());
/// let heartbeat = Heartbeat::event().every(Duration::from_secs(4));
/// let mut frames =
///     hub.subscribe("orders").await?.into_frames(Format::Plain).with_heartbeat(heartbeat);
/// frames.opening();
/// assert!(frames.heartbeat_block().starts_with(b"event: carafe.heartbeat\ndata: {"));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Heartbeat {
    /// The number of the interval, 0 for the driver's, and [`EVENT`]. One byte, because each group
    /// of a dispatcher has it.
    bits: u8,
}

impl Heartbeat {
    /// A comment, or the position if that has moved.
    #[must_use]
    pub const fn comment() -> Self {
        Self { bits: 0 }
    }

    /// The event `carafe.heartbeat` with the position, for clients that notice only events. A
    /// format of an adapter has no such event.
    #[must_use]
    pub const fn event() -> Self {
        Self { bits: EVENT }
    }

    /// Sets the silence after which it is sent, instead of the driver's: from 0.1 s to 10 minutes.
    /// It is rounded down, to tenths of a second below one second, to whole seconds up to a minute,
    /// and beyond to tens of seconds.
    #[must_use]
    pub fn every(self, interval: Duration) -> Self {
        let fits = |at: &u8| interval_at(*at).is_some_and(|known| known <= interval);
        let number = (1..EVENT).take_while(fits).last().unwrap_or(1);
        Self { bits: (self.bits & EVENT) | number }
    }

    /// The silence after which it is sent; `None` for the driver's interval.
    #[must_use]
    pub fn interval(self) -> Option<Duration> {
        interval_at(self.bits & !EVENT)
    }

    pub(crate) fn is_event(self) -> bool {
        self.bits & EVENT != 0
    }
}

/// The interval with this number; they grow. Few, since subscribers are grouped by interval.
fn interval_at(number: u8) -> Option<Duration> {
    let (count, unit) = match number {
        1..=9 => (number, 100),
        10..=69 => (number - 9, 1_000),
        70..=123 => (number - 63, 10_000),
        _ => return None,
    };
    Some(Duration::from_millis(unit) * u32::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(requested: Duration, rounded: u64) {
        let (comment, event) = (Heartbeat::comment(), Heartbeat::event());
        assert_eq!(comment.every(requested).interval(), Some(Duration::from_millis(rounded)));
        assert_eq!(event.every(requested).interval(), comment.every(requested).interval());
        assert!(event.every(requested).is_event() && !comment.every(requested).is_event());
    }

    #[test]
    fn intervals_are_rounded_down_so_that_few_differ() {
        for (requested, rounded) in [
            (0, 100),
            (199, 100),
            (999, 900),
            (1_000, 1_000),
            (4_999, 4_000),
            (60_999, 60_000),
            (79_999, 70_000),
            (600_000, 600_000),
        ] {
            check(Duration::from_millis(requested), rounded);
        }
        check(Duration::MAX, 600_000);
        assert_eq!((Heartbeat::event().interval(), interval_at(0)), (None, None));
    }
}
