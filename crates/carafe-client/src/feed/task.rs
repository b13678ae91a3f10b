//! The end of a feed's task.

use std::sync::Arc;

use crate::feed::shared::Shared;
use crate::publisher_error::PublisherError;

/// Tells the program how the task has ended, so that it never waits in vain. A task may end without
/// a result: the functions of the program for tokens and retries run on it, and panic there, or its
/// runtime shuts down.
pub(crate) struct Task {
    shared: Arc<Shared>,
    has_result: bool,
}

impl Task {
    pub(crate) fn begun(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), has_result: false }
    }

    pub(crate) fn ended(mut self, result: Result<(), PublisherError>) {
        self.has_result = true;
        if let Err(error) = result {
            self.fail(error);
        }
    }

    fn fail(&self, error: PublisherError) {
        self.shared.change(|state| state.failure = Some(error));
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if !self.has_result {
            let text = "the task of the feed has ended: a function of the program has panicked on \
                        it, or its runtime has shut down";
            self.fail(PublisherError::Unknown(String::from(text).into()));
        }
    }
}
