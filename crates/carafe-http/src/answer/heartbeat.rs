//! The timer that keeps idle streams open.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// The usual interval: proxies close connections that are silent for 30 to 60 s.
pub(crate) const DEFAULT: Duration = Duration::from_secs(15);

/// The shortest interval.
const SHORTEST: Duration = Duration::from_millis(1);

/// A timer that fires after a silence of one interval.
pub(crate) struct Heartbeat {
    interval: Option<Duration>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Heartbeat {
    /// A timer with this interval; `None` never fires.
    pub(crate) fn every(interval: Option<Duration>) -> Self {
        // An interval of zero would leave time for nothing else.
        Self { interval: interval.map(|interval| interval.max(SHORTEST)), sleep: None }
    }

    /// There was output: the silence starts anew.
    pub(crate) fn reset(&mut self) {
        if let (Some(interval), Some(sleep)) = (self.interval, &mut self.sleep) {
            sleep.as_mut().reset(Instant::now() + interval);
        }
    }

    /// Ready once the silence has lasted for the interval.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(interval) = self.interval else { return Poll::Pending };
        // Made when it is first needed: a stream that ends at once has no timer.
        let timer = self.sleep.get_or_insert_with(|| Box::pin(sleep(interval)));
        ready!(timer.as_mut().poll(cx));
        self.reset();
        Poll::Ready(())
    }
}
