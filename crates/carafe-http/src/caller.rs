//! Who asks, and what they may do.

use carafe_protocol::Topic;
use http::StatusCode;

use crate::router::App;
use crate::{Problem, Rights};

/// Who asks: a stranger.
pub(crate) struct Caller {
    pub(crate) rights: Rights,
}

impl Caller {
    pub(crate) fn of(app: &App) -> Self {
        Self { rights: app.options.strangers.clone() }
    }

    /// Refuses to publish to what is not granted under all its topics.
    pub(crate) fn may_publish_to<'a>(
        &self,
        topics: impl IntoIterator<Item = &'a Topic>,
    ) -> Result<(), Problem> {
        match topics.into_iter().find(|topic| !self.rights.publish.covers(topic)) {
            None => Ok(()),
            Some(topic) => Err(self.refused(format!(
                "the topic `{topic}` is not among those that may be published to: use others, or ask for a grant of it"
            ))),
        }
    }

    /// Refuses what is not granted.
    pub(crate) fn refused(&self, detail: String) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "urn:carafe:problem:forbidden", "Not allowed", detail)
    }
}
