//! Takes events off a publisher's allowance under the publish rate.
//!
//! A publisher of `None` is a client that the limits cannot tell from others: then the app limits
//! its publishers itself.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use crate::answer::limit::Limit;
use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::api::app::App;
use crate::policy::publish_rate::{Publisher, TooFast};

/// Takes so many events off the allowance, or none if it has fewer.
pub(crate) fn take(app: &App, publisher: Option<Publisher>, events: usize) -> Result<(), Problem> {
    let Some(publisher) = publisher else { return Ok(()) };
    app.options.publish_rate.take(publisher, events, Instant::now()).map_err(too_fast)
}

/// Checks that the allowance has one event left, without taking it.
pub(crate) fn check(app: &App, publisher: Option<Publisher>) -> Result<(), Problem> {
    let Some(publisher) = publisher else { return Ok(()) };
    app.options.publish_rate.check(publisher, Instant::now()).map_err(too_fast)
}

/// Takes one event off the allowance, or says after which time it has one.
pub(crate) fn take_or_wait(app: &App, publisher: Option<Publisher>) -> Option<Duration> {
    // The runtime's clock: whoever waits does so by the same.
    let now = tokio::time::Instant::now().into_std();
    match app.options.publish_rate.take(publisher?, 1, now) {
        Err(TooFast::Wait(time)) => Some(time),
        // One event never exceeds the burst.
        Ok(()) | Err(TooFast::Never(_)) => None,
    }
}

/// Takes an event that is not stored off the allowance.
pub(crate) fn spend(app: &App, publisher: Option<Publisher>) {
    let Some(publisher) = publisher else { return };
    app.options.publish_rate.spend(publisher, 1, tokio::time::Instant::now().into_std());
}

/// The events of a batch while it is read. A batch that is rejected is charged too, since reading
/// it has cost as much.
pub(crate) struct UnpaidBatch<'a> {
    app: &'a App,
    publisher: Option<Publisher>,
    /// Events that were read; `None` once they are charged.
    events: Option<usize>,
}

impl<'a> UnpaidBatch<'a> {
    pub(crate) fn new(app: &'a App, publisher: Option<Publisher>) -> Self {
        Self { app, publisher, events: Some(0) }
    }

    /// One more event was read.
    pub(crate) fn count(&mut self) {
        self.events = self.events.map(|events| events + 1);
    }

    /// Takes the whole batch off the allowance. If the allowance has less, nothing is taken and the
    /// publisher has to wait. A batch that exceeds the burst can never be stored and is charged.
    pub(crate) fn pay(mut self) -> Result<(), Problem> {
        let (Some(publisher), Some(events)) = (self.publisher, self.events) else { return Ok(()) };
        let taken = self.app.options.publish_rate.take(publisher, events, Instant::now());
        if !matches!(taken, Err(TooFast::Never(_))) {
            self.events = None;
        }
        taken.map_err(too_fast)
    }
}

impl Drop for UnpaidBatch<'_> {
    fn drop(&mut self) {
        if let (Some(events), Some(publisher)) = (self.events, self.publisher) {
            // An incomplete first line counts as an event: it may be long.
            self.app.options.publish_rate.spend(publisher, events.max(1), Instant::now());
        }
    }
}

fn too_fast(too_fast: TooFast) -> Problem {
    match too_fast {
        TooFast::Wait(time) => Problem::too_fast(time),
        TooFast::Never(burst) => over_burst(burst),
    }
}

fn over_burst(burst: NonZeroU32) -> Problem {
    let detail = format!(
        "more than the {burst} events that may be published at once: publish smaller batches, or \
         raise --publish-burst"
    );
    Problem::of(ProblemKind::TooLarge, detail).counts_for(Limit::PublishRate)
}
