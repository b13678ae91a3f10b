//! What one line of NDJSON says of an event, valid but for its rights.

use std::time::Duration;

use carafe_log::Publication;
use carafe_protocol::Topic;

use crate::answer::limit::Limit;
use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::api::body::too_large;
use crate::api::line::{Alternates, Data, Line};
use crate::api::options::Options;
use crate::api::publication::{Parameters, TOPICS, event_type, key, too_many_topics};
use crate::api::topic::topic;

/// Bytes of a line besides its data: topics and other parameters.
const NAMES: usize = 64 << 10;

/// The most bytes of JSON for one byte of data: `\u0000`.
const ESCAPE: usize = 6;

/// The most bytes of a line.
pub(crate) fn longest_line(options: &Options) -> usize {
    options.event_bytes.saturating_mul(ESCAPE).saturating_add(NAMES)
}

/// The event of a line.
pub(crate) struct LineEvent<'a> {
    data: String,
    parameters: Parameters,
    topic: Option<String>,
    alternates: Option<Alternates>,
    options: &'a Options,
}

impl<'a> LineEvent<'a> {
    pub(crate) fn parse(line: &str, options: &'a Options) -> Result<Self, Problem> {
        let event_bytes = options.event_bytes;
        let line =
            Line::parse(line, event_bytes, TOPICS).map_err(|error| bad_line(error.to_string()))?;
        let Data::Text(data) = line.data else {
            return Err(too_large(event_bytes).over(Limit::EventBytes));
        };
        let parameters = Parameters {
            event_type: line.event.as_deref().map(event_type).transpose()?,
            key: line.id.as_deref().map(key).transpose()?,
            retry: line.retry.map(Duration::from_millis),
            private: line.private,
        };
        Ok(Self { data, parameters, topic: line.topic, alternates: line.alternates, options })
    }

    /// The event for the topics that the line names.
    pub(crate) fn publication(self) -> Result<Publication, Problem> {
        let Some(first) = self.topic else {
            return Err(bad_line("missing field `topic`: name the topic in each line".into()));
        };
        let alternates = match self.alternates {
            None => Vec::new(),
            Some(Alternates::Topics(topics)) => topics,
            Some(Alternates::TooMany) => return Err(too_many_topics()),
        };
        let alternates =
            alternates.iter().map(|text| topic(text)).collect::<Result<Vec<_>, _>>()?;
        let publication = Publication::new(topic(&first)?, self.data).with_alternates(alternates);
        Ok(self.parameters.apply(publication, self.options))
    }

    /// The event for the topics that the request names. The line names none.
    pub(crate) fn publication_to(
        self,
        first: &Topic,
        alternates: &[Topic],
    ) -> Result<Publication, Problem> {
        if self.topic.is_some() || self.alternates.is_some() {
            let detail = "the request names the topics of all lines: remove `topic` and \
                          `alternates` from the line, or post to /events?stream";
            return Err(bad_line(detail.into()));
        }
        let publication = Publication::new(first.clone(), self.data);
        let publication = publication.with_alternates(alternates.iter().cloned());
        Ok(self.parameters.apply(publication, self.options))
    }
}

pub(crate) fn too_long(longest: usize) -> Problem {
    let detail =
        format!("more than the {longest} bytes that a line may have: publish less in one event");
    Problem::of(ProblemKind::TooLarge, detail).over(Limit::EventBytes)
}

pub(crate) fn bad_line(detail: String) -> Problem {
    Problem::of(ProblemKind::BadLine, detail)
}
