//! What happens to a topic when the connection of its producer breaks.

use carafe_hub::Hub;
use carafe_log::{Access, Outcome, Publication, ReadError};
use carafe_protocol::{Position, Topic};
use tracing::debug;

use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::api::ingest::feeding::{Fed, Feeding};
use crate::api::query::Query;
use crate::api::repeats::Repeats;

/// The reason in the end of the topic.
const REASON: &str = "the connection of the producer broke off";

const NOT_ENDED: &str = "the topic of a producer that has left is not ended";

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
    /// Events of the topic after this position are of another producer. `None` if it is not known
    /// which events of the request are stored.
    since: Option<Position>,
}

impl OnAbort {
    /// `since`: the position of the hub when the request began.
    pub(crate) fn new(
        feeding: &Feeding,
        fed: Fed,
        end: Option<Publication>,
        since: Position,
    ) -> Self {
        Self { end, feeding: feeding.clone(), fed, since: Some(since) }
    }

    /// Whether there is something to do.
    pub(crate) fn ends_a_topic(&self) -> bool {
        self.end.is_some()
    }

    /// Events of the request are stored, up to this position.
    pub(crate) fn has_stored(&mut self, position: Position) {
        self.since = self.since.filter(|since| since.offset > position.offset).or(Some(position));
    }

    /// Events of the request may be stored or not.
    pub(crate) fn is_unsure(&mut self) {
        self.since = None;
    }

    /// The request has broken off, and its events are stored.
    pub(crate) async fn run(self, hub: &Hub) {
        let Self { end, feeding, fed, since } = self;
        drop(fed);
        let Some(end) = end.map(|end| end.with_data(REASON)) else { return };
        let repeats = Repeats::new();
        loop {
            // A producer that has come back before the hub noticed the end of its first connection
            // goes on with the topic.
            let goes_on = match is_fed_elsewhere(hub, end.topic(), since).await {
                _ if feeding.is_fed(end.topic(), true) => return,
                Ok(true) => return,
                Ok(false) => match hub.publish(end.clone()).await {
                    Ok(_) => return,
                    Err(error) => {
                        debug!(%error, "{NOT_ENDED}");
                        repeats.wait_after(&error).await
                    }
                },
                // The node must not end what it would know to go on.
                Err(error) => {
                    debug!(%error, "{NOT_ENDED}");
                    error == ReadError::Behind && repeats.wait().await
                }
            };
            if !goes_on {
                return;
            }
        }
    }
}

/// Whether the topic has an event that another node may have received from the producer: this one
/// does not know the requests of other nodes.
async fn is_fed_elsewhere(
    hub: &Hub,
    topic: &Topic,
    since: Option<Position>,
) -> Result<bool, ReadError> {
    let Some(since) = since.filter(|_| hub.is_one_of_several()) else { return Ok(false) };
    hub.catch_up().await?;
    let newest = hub.topic_tail(topic, &Access::all(), None).await?.position;
    Ok(newest.is_some_and(|newest| newest.offset > since.offset))
}
