//! What a server does not permit. It says so beside the answers: a request that is denied has none.

use std::fmt;
use std::future::pending;

use async_nats::ServerError;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::EngineError;

/// How many denials may wait for those who have sent the requests.
const WAITING: usize = 32;

/// Something that the server does not permit the user of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// To publish to a subject.
    Publish(String),
    /// To subscribe to a subject: answers do not come.
    Subscribe(String),
}

impl Denied {
    /// What a server denies, if that is what it reports. Such as `Permissions Violation for Publish
    /// to "carafe.EVENTS"`.
    pub(super) fn of(error: &ServerError) -> Option<Self> {
        let ServerError::Other(text) = error else { return None };
        let text = text.strip_prefix("Permissions Violation for ")?;
        let subject = text.split('"').nth(1)?.to_owned();
        match text.split(' ').next()? {
            "Publish" => Some(Self::Publish(subject)),
            "Subscription" => Some(Self::Subscribe(subject)),
            _ => None,
        }
    }

    /// Whether a request to a subject has no answer for it.
    fn concerns(&self, asked: &str) -> bool {
        match self {
            Self::Publish(subject) => subject == asked,
            Self::Subscribe(_) => true,
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publish(subject) => write!(f, "to publish to {}", permission(subject)),
            Self::Subscribe(subject) => write!(f, "to subscribe to {}", permission(subject)),
        }
    }
}

impl From<Denied> for EngineError {
    fn from(denied: Denied) -> Self {
        Self::Refused(what_to_grant(&[denied]))
    }
}

/// What to change, for at least one.
pub(super) fn what_to_grant(denied: &[Denied]) -> String {
    let denied = denied.iter().map(ToString::to_string).collect::<Vec<_>>().join(", and ");
    format!("the user of this node lacks the permission {denied}: grant it in NATS")
}

/// The permission for a subject, whose end may be another one each time.
fn permission(subject: &str) -> String {
    let same = match subject.split('.').collect::<Vec<_>>()[..] {
        ["_INBOX", ..] => 1,
        ["$JS", "FC", ..] => 2,
        ["$JS", "API", "CONSUMER", "CREATE", ..] => 5,
        _ => return subject.into(),
    };
    let tokens = subject.split('.').take(same).chain([">"]);
    tokens.collect::<Vec<_>>().join(".")
}

/// What the server of a connection denies, for those who wait for an answer.
#[derive(Clone)]
pub(super) struct Denials(broadcast::Sender<Denied>);

impl Default for Denials {
    fn default() -> Self {
        Self(broadcast::Sender::new(WAITING))
    }
}

impl Denials {
    pub(super) fn notice(&self, denied: Denied) {
        // Nobody may wait for it.
        let _ = self.0.send(denied);
    }

    /// Completes when the server denies a request that is sent to this subject after this call.
    pub(super) fn of(&self, subject: &str) -> impl Future<Output = Denied> + use<'_> {
        let (mut denials, subject) = (self.0.subscribe(), subject.to_owned());
        async move {
            loop {
                match denials.recv().await {
                    Ok(denied) if denied.concerns(&subject) => return denied,
                    // After too many, the request has no answer in time.
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    // Not reached: `self` has a sender.
                    Err(RecvError::Closed) => pending().await,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_names_the_permission_that_is_missing() {
        for (text, expected) in [
            ("Publish to \"carafe.EVENTS\"", Some("to publish to carafe.EVENTS")),
            (
                "Publish to \"$JS.API.CONSUMER.CREATE.EVENTS.carafe_00ff\"",
                Some("to publish to $JS.API.CONSUMER.CREATE.EVENTS.>"),
            ),
            ("Publish to \"$JS.FC.EVENTS.carafe_00ff.x1\"", Some("to publish to $JS.FC.>")),
            ("Subscription to \"_INBOX.a1b2.*\"", Some("to subscribe to _INBOX.>")),
            ("Subscription to \"a\" using queue \"b\"", Some("to subscribe to a")),
            ("Publish with Reply of \"a\"", Some("to publish to a")),
            ("something else", None),
        ] {
            let error = ServerError::Other(format!("Permissions Violation for {text}"));
            let denied = Denied::of(&error).map(|denied| denied.to_string());
            assert_eq!(denied.as_deref(), expected, "{text}");
        }
        assert_eq!(Denied::of(&ServerError::Other("maximum connections exceeded".into())), None);
        assert_eq!(Denied::of(&ServerError::AuthorizationViolation), None);
    }

    #[tokio::test]
    async fn a_request_learns_of_its_own_denial() {
        let (denials, publish) =
            (Denials::default(), |subject: &str| Denied::Publish(subject.into()));
        denials.notice(publish("a"));
        let (a, b) = (denials.of("a"), denials.of("b"));
        denials.notice(publish("b"));
        assert_eq!(b.await, publish("b"));
        denials.notice(Denied::Subscribe("answers".into()));
        assert_eq!(a.await, Denied::Subscribe("answers".into()));
    }
}
