//! Topics in paths and parameters.

use carafe_protocol::{BadTopic, Topic};
use http::Uri;

use crate::answer::limit::Limit;
use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::api::query::percent_decode;

/// The topic in the path, percent-decoded; `None` for `/events` itself.
pub(crate) fn topic_in_path(uri: &Uri) -> Result<Option<Topic>, Problem> {
    uri.path().strip_prefix("/events/").map(|rest| topic(&percent_decode(rest)?)).transpose()
}

pub(crate) fn topic(text: &str) -> Result<Topic, Problem> {
    Topic::new(text).map_err(bad_topic)
}

pub(crate) fn bad_topic(error: BadTopic) -> Problem {
    let problem = Problem::of(ProblemKind::BadTopic, error.to_string());
    if matches!(error, BadTopic::TooLong(_)) { problem.over(Limit::TopicBytes) } else { problem }
}
