//! What happens to a topic when the connection of its producer breaks.

use carafe_hub::Hub;
use carafe_log::{Outcome, Publication};
use tracing::debug;

use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::api::ingest::feeding::{Fed, Feeding};
use crate::api::query::Query;

/// The reason in the end of the topic.
const REASON: &str = "the connection of the producer broke off";

/// The name of the parameter.
pub(crate) const PARAMETER: &str = "on_abort";

/// The outcome with which a topic ends when the connection of its producer breaks; `None` if the
/// topic stays as it is.
pub(crate) fn outcome(query: &Query) -> Result<Option<Outcome>, Problem> {
    match query.one(PARAMETER)? {
        None | Some("keep") => Ok(None),
        Some("end") => Ok(Some(Outcome::Done)),
        Some("fail") => Ok(Some(Outcome::Failed)),
        Some(_) => {
            let detail = "unknown on_abort: use on_abort=keep, on_abort=end or on_abort=fail";
            Err(Problem::of(ProblemKind::BadParameter, detail))
        }
    }
}

/// The topics that a request feeds, and what happens to the first of them if the request breaks
/// off.
pub(crate) struct OnAbort {
    end: Option<Publication>,
    feeding: Feeding,
    fed: Fed,
}

impl OnAbort {
    pub(crate) fn new(feeding: &Feeding, fed: Fed, end: Option<Publication>) -> Self {
        Self { end, feeding: feeding.clone(), fed }
    }

    /// Whether there is something to do.
    pub(crate) fn ends_a_topic(&self) -> bool {
        self.end.is_some()
    }

    /// The request has broken off, and its events are stored.
    pub(crate) async fn run(self, hub: &Hub) {
        let Self { end, feeding, fed } = self;
        drop(fed);
        let Some(end) = end else { return };
        // A producer that has come back before the hub noticed the end of its first connection goes
        // on with the topic.
        if feeding.is_fed(end.topic(), true) {
            return;
        }
        if let Err(error) = hub.publish(end.with_data(REASON)).await {
            debug!(%error, "the topic of a producer that has left is not ended");
        }
    }
}
