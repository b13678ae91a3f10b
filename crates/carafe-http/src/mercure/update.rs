//! Parses and checks a published update.

use std::fmt::Write;
use std::time::Duration;

use carafe_log::{ExternalId, Publication};
use carafe_protocol::{BadTopic, EventType, Topic};
use http::StatusCode;

use crate::answer::limit::Limit;
use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::api::body::too_large;
use crate::api::options::Options;
use crate::api::publication::{TOPICS, event_type, too_many_topics};
use crate::api::topic::bad_topic;
use crate::mercure::encoder::OF_HUB;
use crate::mercure::form_data::FormData;
use crate::mercure::selector::has_invisible;
use crate::mercure::version::Version;
use crate::policy::reserved_topics::{is_hubs_own, is_of_subscriptions};

/// An update, and the ID under which subscribers know it.
pub(crate) struct Update {
    pub(crate) publication: Publication,
    pub(crate) id: String,
}

impl Update {
    /// Parses the form of a publisher. The first topic is canonical; the presence of `private`
    /// counts, whatever its value.
    pub(crate) fn parse(form: &FormData, options: &Options) -> Result<Self, Problem> {
        let topics = form.all("topic").take(TOPICS + 1);
        let topics = topics.map(own_topic).collect::<Result<Vec<_>, _>>()?;
        if topics.len() > TOPICS {
            return Err(too_many_topics().with_status(StatusCode::PAYLOAD_TOO_LARGE));
        }
        let (canonical, alternates) = topics.split_first().ok_or_else(no_topic)?;
        let event_bytes = options.event_bytes;
        let data = form.all("data").next().unwrap_or_default();
        if data.len() > event_bytes {
            return Err(too_large(event_bytes).over(Limit::EventBytes));
        }
        let id = id(form)?;
        let publication = Publication::new(canonical.clone(), data)
            .with_alternates(alternates.iter().cloned())
            .with_private(form.has("private"))
            .with_external_id(id.clone());
        let publication = form
            .filled("type")
            .map(event_type)
            .transpose()?
            .into_iter()
            .fold(publication, Publication::with_type);
        let retry = retry(form)?.map(|time| options.limited_retry(time));
        let publication = retry.into_iter().fold(publication, Publication::with_retry);
        Ok(Self { publication, id: id.to_string() })
    }

    /// Rejects what the version forbids to publish.
    pub(crate) fn check(&self, version: Version, prefix: &str) -> Result<(), Problem> {
        for topic in self.publication.topics() {
            check_topic(topic, version, prefix)?;
        }
        if version == Version::Zero {
            return Ok(());
        }
        let event_type = self.publication.event().event_type().map(EventType::as_str);
        if event_type == Some(OF_HUB) {
            return Err(bad("type", "`mercure` is the hub's own: use another"));
        }
        match event_type.into_iter().chain([&*self.id]).any(has_invisible) {
            true => Err(bad(
                "type",
                "it or the `id` has a control or format character: use printable text",
            )),
            false => Ok(()),
        }
    }
}

/// Mercure's status for what is too long is 413.
fn own_topic(text: &str) -> Result<Topic, Problem> {
    Topic::new(text).map_err(|error| match error {
        BadTopic::TooLong(_) => bad_topic(error).with_status(StatusCode::PAYLOAD_TOO_LARGE),
        _ => bad_topic(error),
    })
}

fn check_topic(topic: &Topic, version: Version, prefix: &str) -> Result<(), Problem> {
    let text = topic.as_str();
    match version {
        _ if is_of_subscriptions(topic, prefix) => {
            Err(bad("topic", "it is that of the hub's subscription events: use another"))
        }
        Version::Zero => Ok(()),
        Version::One if text == "*" => {
            Err(bad("topic", "`*` stands for all topics: publish to one"))
        }
        Version::One if has_invisible(text) => {
            Err(bad("topic", "it has a control or format character: use printable text"))
        }
        Version::One if is_hubs_own(topic, prefix) => {
            Err(bad("topic", "it is the hub's own URL: use another"))
        }
        Version::One => Ok(()),
    }
}

/// The publisher's ID, or a new one. It is not an idempotency key: several updates may have it.
fn id(form: &FormData) -> Result<ExternalId, Problem> {
    let text = match form.filled("id") {
        Some("earliest") => {
            return Err(bad("id", "`earliest` stands for the beginning of history: use another"));
        }
        Some(id) if id.starts_with('#') => {
            return Err(bad("id", "it begins with `#`: use another"));
        }
        Some(id) => id.to_owned(),
        None => new_urn(),
    };
    ExternalId::new(&text).map_err(|_| {
        bad(
            "id",
            "it has more than 256 bytes or a control character: use a short one, such as a UUID",
        )
    })
}

fn retry(form: &FormData) -> Result<Option<Duration>, Problem> {
    let Some(text) = form.filled("retry") else { return Ok(None) };
    let milliseconds: Option<u64> =
        text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    let milliseconds = milliseconds
        .ok_or_else(|| bad("retry", "it is not a number of milliseconds: use digits only"))?;
    Ok(Some(Duration::from_millis(milliseconds)).filter(|time| !time.is_zero()))
}

/// A random UUID (RFC 9562, 5.4) as a URN.
pub(crate) fn new_urn() -> String {
    let mut bytes: [u8; 16] = rand::random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut urn = String::from("urn:uuid:");
    for (at, byte) in bytes.iter().enumerate() {
        let dash = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
        // Writing to a string does not fail.
        let _ = write!(urn, "{dash}{byte:02x}");
    }
    urn
}

fn no_topic() -> Problem {
    bad("topic", "there is none: name one")
}

fn bad(field: &str, what: &str) -> Problem {
    let detail = format!("the field `{field}`: {what}");
    Problem::of(ProblemKind::BadUpdate, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_id_is_a_random_uuid() {
        let (one, other) = (new_urn(), new_urn());
        assert_ne!(one, other);
        let uuid = one.strip_prefix("urn:uuid:").unwrap();
        let lengths: Vec<_> = uuid.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(uuid.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&uuid.as_bytes()[19]), "{uuid}");
    }
}
