//! What a request says about an event beside its data, and why the hub stored nothing.

use std::time::Duration;

use carafe_hub::PublishError;
use carafe_log::{AppendError, IdempotencyKey, Publication};
use carafe_protocol::EventType;

use crate::answer::limit::Limit;
use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::api::options::Options;
use crate::api::query::Query;

/// The most topics of one event.
pub(crate) const TOPICS: usize = 1000;

/// The parameters of an event, parsed and valid.
pub(crate) struct Parameters {
    pub(crate) event_type: Option<EventType>,
    pub(crate) key: Option<IdempotencyKey>,
    pub(crate) retry: Option<Duration>,
    pub(crate) private: bool,
}

impl Parameters {
    pub(crate) fn parse(query: &Query) -> Result<Self, Problem> {
        Ok(Self {
            event_type: query.one("event")?.map(event_type).transpose()?,
            key: query.one("id")?.map(key).transpose()?,
            retry: query.number("retry")?.map(Duration::from_millis),
            private: query.flag("private")?,
        })
    }

    pub(crate) fn apply(self, mut publication: Publication, options: &Options) -> Publication {
        if let Some(event_type) = self.event_type {
            publication = publication.with_type(event_type);
        }
        if let Some(key) = self.key {
            publication = publication.with_key(key);
        }
        if let Some(retry) = self.retry {
            publication = publication.with_retry(options.limited_retry(retry));
        }
        publication.with_private(self.private)
    }
}

pub(crate) fn event_type(text: &str) -> Result<EventType, Problem> {
    EventType::new(text).map_err(|error| Problem::of(ProblemKind::BadEventType, error.to_string()))
}

pub(crate) fn key(text: &str) -> Result<IdempotencyKey, Problem> {
    IdempotencyKey::new(text).map_err(|error| Problem::of(ProblemKind::BadId, error.to_string()))
}

pub(crate) fn too_many_topics() -> Problem {
    let detail =
        format!("the event has more than {TOPICS} topics: publish to fewer, or in several events");
    Problem::of(ProblemKind::TooManyTopics, detail).over(Limit::Topics)
}

/// Why the hub has stored nothing, as a problem document.
#[expect(clippy::needless_pass_by_value, reason = "map_err hands the error over")]
pub(crate) fn not_stored(error: PublishError) -> Problem {
    let detail = error.to_string();
    match error {
        PublishError::ReservedTopic(_) => Problem::of(ProblemKind::Forbidden, detail),
        PublishError::ReservedType(_) => Problem::of(ProblemKind::BadEventType, detail),
        PublishError::Append(AppendError::TooLarge { .. }) => {
            Problem::of(ProblemKind::TooLarge, detail).over(Limit::HistoryBytes)
        }
        PublishError::Append(AppendError::Ended { outcome, position, .. }) => {
            Problem::of(ProblemKind::TopicEnded, detail).with_end(outcome.as_str(), position)
        }
        PublishError::Append(AppendError::TooManyEnded { .. }) => {
            Problem::try_again(detail).over(Limit::EndedTopics)
        }
        PublishError::Append(AppendError::TooManyKeys { .. }) => {
            Problem::try_again(detail).over(Limit::RememberedKeys)
        }
        PublishError::Append(AppendError::Full) => Problem::of(ProblemKind::DiskFull, detail)
            .with_header("retry-after", "10")
            .over(Limit::DiskFull),
        PublishError::Append(AppendError::NoDescriptors) => {
            Problem::try_again(detail).over(Limit::Descriptors)
        }
        PublishError::Append(AppendError::TooManyErasures { .. }) => {
            Problem::try_again(detail).over(Limit::Erasures)
        }
        PublishError::Append(AppendError::Unavailable) => {
            Problem::try_again(detail).over(Limit::Cluster)
        }
        PublishError::Append(AppendError::Refused(_)) => {
            Problem::try_again(detail).over(Limit::ClusterRefused)
        }
        PublishError::Append(AppendError::Busy) => {
            Problem::try_again(detail).over(Limit::WaitingBytes)
        }
        // Draining, a failed disk, keys that cannot be looked up: nothing was stored, or it is
        // unknown, and another attempt is right.
        _ => Problem::try_again(detail),
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use carafe_log::ReadError;
    use http::StatusCode;
    use http::header::RETRY_AFTER;

    use super::*;

    #[test]
    fn a_publisher_is_told_to_publish_again_while_the_cluster_does_not_answer() {
        let problem = not_stored(AppendError::Unavailable.into());
        let detail = problem.detail();
        assert!(detail.contains("it is not known whether"), "{detail}");
        assert!(detail.contains("with the same idempotency keys"), "{detail}");
        let response = problem.into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key(RETRY_AFTER));
    }

    #[test]
    fn a_publisher_is_told_that_the_engine_of_the_cluster_refuses_the_event_and_why() {
        let problem = not_stored(AppendError::Refused("maximum bytes exceeded".into()).into());
        let detail = problem.detail();
        assert!(detail.contains("nothing was stored"), "{detail}");
        assert!(detail.contains("maximum bytes exceeded"), "{detail}");
        assert!(detail.contains("the operator has to make room"), "{detail}");
        let response = problem.into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key(RETRY_AFTER));
    }

    #[test]
    fn a_publication_whose_key_cannot_be_looked_up_is_rejected_for_now() {
        let error = AppendError::Keys(ReadError::Disk("for the test".into()));
        let problem = not_stored(error.into());
        assert!(
            problem.detail().contains("nothing was stored")
                && problem.detail().contains("publish again")
        );
        let response = problem.into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key(RETRY_AFTER));
    }
}
