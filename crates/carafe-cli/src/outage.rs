//! Messages about a hub that is away: each reason once, until the hub is back.

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};

/// The last reason that was printed since the hub was there.
#[derive(Clone, Default)]
pub(crate) struct Outage(Arc<Mutex<Option<String>>>);

impl Outage {
    /// Prints the reason and what the program does, unless it has just printed the same.
    pub(crate) fn report(&self, reason: &impl Display, doing: &str) {
        let reason = reason.to_string();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref() != Some(&reason) {
            eprintln!("carafe: {reason}; {doing}");
            *last = Some(reason);
        }
    }

    /// The hub is there. Prints `done` if it was away.
    pub(crate) fn end(&self, done: &str) {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).take().is_some() {
            eprintln!("carafe: {done}");
        }
    }
}
