//! Why a subscription is rejected, as problem documents.

use carafe_hub::SubscribeError;
use carafe_log::ReadError;
use carafe_protocol::{BadMatcher, BadPattern};

use crate::answer::limit::Limit;
use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::api::caller::Caller;
use crate::api::topic::bad_topic;

/// The problem document of a rejected subscription, or of what the caller has no right to.
pub(crate) fn refusal(caller: &Caller<'_>, error: &SubscribeError) -> Problem {
    problem(error).unwrap_or_else(|| caller.refused(error.to_string()))
}

/// The limit that the request meets now. It may be accepted later.
pub(crate) fn limit_met(error: &SubscribeError) -> Option<Limit> {
    match error {
        SubscribeError::TooManyComplexPatterns(_) => Some(Limit::ComplexPatterns),
        SubscribeError::TooManyComplexPatternsOfClient { .. } => {
            Some(Limit::ComplexPatternsPerClient)
        }
        SubscribeError::TooManySnapshots => Some(Limit::SnapshotBytes),
        _ => None,
    }
}

/// The problem document of a rejected subscription. `None` if the client lacks the right: whether
/// it needs a token, or another one, depends on the protocol.
pub(crate) fn problem(error: &SubscribeError) -> Option<Problem> {
    let detail = error.to_string();
    Some(match error {
        SubscribeError::NotGranted(_) | SubscribeError::NothingGranted => return None,
        SubscribeError::BadMatcher(BadMatcher::Topic(error)) => bad_topic(*error),
        SubscribeError::BadMatcher(BadMatcher::Pattern(error)) => bad_pattern(*error),
        SubscribeError::BadMatcher(_) => Problem::of(ProblemKind::BadPattern, detail),
        SubscribeError::TooManyMatchers { .. } => {
            Problem::of(ProblemKind::TooManyMatchers, detail).over(Limit::Matchers)
        }
        SubscribeError::TooComplex { .. } => {
            Problem::of(ProblemKind::TooComplex, detail).over(Limit::ComplexPatternsPerClient)
        }
        SubscribeError::Read(error @ ReadError::TooMuchWork { .. }) => {
            Problem::of(ProblemKind::TooMuchWork, error.to_string()).over(Limit::PatternTests)
        }
        SubscribeError::Read(error @ ReadError::TooManyLatest { .. }) => {
            Problem::of(ProblemKind::TooManyLatest, error.to_string()).over(Limit::LatestEvents)
        }
        // Only what passes by itself: draining, and limits that other clients use up.
        _ => Problem::try_again(detail),
    })
}

pub(crate) fn bad_pattern(error: BadPattern) -> Problem {
    Problem::of(ProblemKind::BadPattern, error.to_string())
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use carafe_protocol::{BadTopic, Topic};
    use http::StatusCode;

    use super::*;

    #[track_caller]
    fn check(error: impl Into<SubscribeError>, kind: ProblemKind, status: StatusCode) {
        let problem = problem(&error.into()).expect("it is not about rights");
        assert_eq!(serde_json::to_value(&problem).unwrap()["type"], kind.urn());
        assert_eq!(problem.into_response().status(), status);
    }

    #[test]
    fn a_request_that_is_wrong_is_rejected_for_good_and_another_one_for_now() {
        let bad = StatusCode::BAD_REQUEST;
        check(BadMatcher::Topic(BadTopic::Empty), ProblemKind::BadTopic, bad);
        check(BadMatcher::Topic(BadTopic::TooLong(9999)), ProblemKind::BadTopic, bad);
        check(BadMatcher::Pattern(BadPattern::Syntax), ProblemKind::BadPattern, bad);
        check(SubscribeError::TooComplex { limit: 1 }, ProblemKind::TooComplex, bad);
        let later = StatusCode::SERVICE_UNAVAILABLE;
        check(SubscribeError::Draining, ProblemKind::Unavailable, later);
    }

    #[test]
    fn a_right_that_is_missing_is_reported_by_the_protocol_of_the_request() {
        assert!(problem(&SubscribeError::NothingGranted).is_none());
        assert!(problem(&SubscribeError::NotGranted(Topic::new("a").unwrap())).is_none());
    }
}
