//! The engine's time, as a node knows it.

use std::time::SystemTime;

use tokio::time::Instant;

/// What an engine's clock showed, and when the node learned it.
///
/// The engine's time is never behind this, while one of its servers leads. And it is ahead by no
/// more than an answer of the engine takes, if the engine was asked not long ago.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EngineTime {
    time: SystemTime,
    at: Instant,
}

impl EngineTime {
    /// The engine has answered that this is its time.
    pub(crate) fn answered(time: SystemTime) -> Self {
        Self { time, at: Instant::now() }
    }

    /// The engine has stored a message at this time, some while ago.
    pub(crate) fn stored(&mut self, time: SystemTime) {
        if time > self.now() {
            *self = Self::answered(time);
        }
    }

    pub(crate) fn now(self) -> SystemTime {
        self.time.checked_add(self.at.elapsed()).unwrap_or(self.time)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn messages_that_come_late_do_not_hold_the_time_up_and_an_answer_corrects_it() {
        let (start, second) = (SystemTime::UNIX_EPOCH, Duration::from_secs(1));
        let mut time = EngineTime::answered(start);
        advance(10 * second).await;
        time.stored(start + 3 * second);
        assert_eq!(time.now(), start + 10 * second);
        time.stored(start + 60 * second);
        advance(second).await;
        assert_eq!(time.now(), start + 61 * second);
        time = EngineTime::answered(start + 5 * second);
        assert_eq!(time.now(), start + 5 * second, "another server leads");
    }
}
