//! A revocation as the log stores it, and as clients list it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use carafe_log::{Entry, Publication};
use carafe_protocol::{Position, Topic};
use serde::{Deserialize, Serialize};

/// The topic of revocations. Nobody else publishes to it, and nobody subscribes to it.
pub(crate) const TOPIC: &str = "carafe/revocations";

/// Whom a revocation is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Who {
    /// All tokens of a subject, or an app's user.
    Subject(String),
    /// One token, by its `jti`.
    TokenId(String),
}

/// Whom a revocation is about, and of which issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    #[serde(flatten)]
    pub(crate) who: Who,
    /// The issuer whose tokens are meant; `None` means those of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) issuer: Option<String>,
}

/// A revocation, or that it was lifted. Times are in seconds since 1970, as in tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    #[serde(flatten)]
    pub(crate) target: Target,
    /// Tokens that were issued before this time are refused.
    pub(crate) issued_before: u64,
    /// When the revocation ends. `None`: when it is lifted.
    pub(crate) until: Option<u64>,
    /// When it was made, in milliseconds. Of two records about the same, the later one counts,
    /// whichever is read first.
    pub(crate) changed: u64,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) lifted: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Record {
    /// The record in an entry of the log; `None` if the entry is about something else.
    pub(crate) fn of(entry: &Entry) -> Option<Self> {
        if !entry.publication.is_internal() || entry.topic().as_str() != TOPIC {
            return None;
        }
        let record = serde_json::from_str(entry.data());
        record
            .inspect_err(|error| {
                let position = entry.position;
                tracing::error!(%position, %error, "a revocation cannot be read, and is ignored");
            })
            .ok()
    }

    pub(crate) fn publication(&self) -> Publication {
        let data = serde_json::to_string(self).expect("an object of texts is always JSON");
        Publication::new(topic(), data).with_private(true).with_hub(true)
    }

    /// Whether it is in force at this time, in seconds.
    pub(crate) fn is_in_force(&self, now: u64) -> bool {
        !self.lifted && self.until.is_none_or(|until| now < until)
    }

    /// Whether it refuses all that `other` refuses, and for as long.
    pub(crate) fn includes(&self, other: &Self) -> bool {
        let later = match (self.until, other.until) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(ours), Some(theirs)) => ours >= theirs,
        };
        !self.lifted && later && self.issued_before >= other.issued_before
    }
}

pub(crate) fn topic() -> Topic {
    Topic::new(TOPIC).expect("the constant is a topic")
}

/// A revocation that is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Revoked {
    #[serde(flatten)]
    target: Target,
    issued_before: u64,
    until: Option<u64>,
    #[serde(serialize_with = "as_text")]
    position: Position,
}

fn as_text<S: serde::Serializer>(position: &Position, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(position)
}

impl Revoked {
    pub(crate) fn new(record: &Record, position: Position) -> Self {
        let Record { target, issued_before, until, .. } = record.clone();
        Self { target, issued_before, until, position }
    }

    /// The subject or user; `None` if one token is revoked.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        match &self.target.who {
            Who::Subject(name) => Some(name),
            Who::TokenId(_) => None,
        }
    }

    /// The ID (`jti`) of the token; `None` if a subject is revoked.
    #[must_use]
    pub fn token_id(&self) -> Option<&str> {
        match &self.target.who {
            Who::TokenId(id) => Some(id),
            Who::Subject(_) => None,
        }
    }

    /// The issuer whose tokens are meant; `None` means those of all issuers, and users of the app.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.target.issuer.as_deref()
    }

    /// Tokens of the subject that were issued before this time are refused.
    #[must_use]
    pub fn issued_before(&self) -> SystemTime {
        // It was made from a time.
        UNIX_EPOCH.checked_add(Duration::from_secs(self.issued_before)).unwrap_or(UNIX_EPOCH)
    }

    /// When the revocation ends. `None`: when it is lifted, or at a time that is too far away to be
    /// represented.
    #[must_use]
    pub fn until(&self) -> Option<SystemTime> {
        UNIX_EPOCH.checked_add(Duration::from_secs(self.until?))
    }

    /// The position of the log's entry that holds the revocation. It moves when the hub stores the
    /// revocation again, before history is trimmed up to it.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_stored_as_json_that_later_versions_can_extend() {
        let target = Target { who: Who::Subject("ann".into()), issuer: None };
        let record = Record { target, issued_before: 7, until: None, changed: 9, lifted: false };
        let data = r#"{"subject":"ann","issued_before":7,"until":null,"changed":9}"#;
        assert_eq!(record.publication().data(), data);
        let later = data.replace('}', r#","later":1}"#);
        assert_eq!(serde_json::from_str::<Record>(&later).unwrap(), record);
    }
}
