//! What a hub reports in a stream, beside the events.

use carafe_protocol::ReceivedEvent;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// What the types of the hub's own events begin with. Applications cannot publish these.
const PREFIX: &str = "carafe.";

/// A report of the hub, at its place between the events.
///
/// ```no_run
/// use carafe_client::{Control, EventSource, Item};
///
/// # async fn example() -> Result<(), carafe_client::Error> {
/// let mut stream = EventSource::new("http://127.0.0.1:3000/events/orders");
/// while let Some(item) = stream.next_item().await.transpose()? {
///     match item {
///         Item::Event(event) => println!("{}", event.data),
///         Item::Control(Control::Gap(gap)) => println!("load everything again: {}", gap.reason),
///         Item::Control(_) => {}
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Control {
    /// Where the stream stands: at its start, and when it has passed events of other topics.
    Position(String),
    /// A part of the requested history is gone.
    Gap(Gap),
    /// A topic has ended.
    End(TopicEnd),
    /// The producer of a topic is asked to stop.
    Stop(Stop),
    /// The token of the stream has expired. The server ends the stream, which then is requested
    /// again with a new token. The text is the position.
    Expired(String),
    /// A heartbeat, if `?heartbeat=event` asks for events. The text is the position.
    Heartbeat(String),
    /// A report that this version does not know.
    Other(ReceivedEvent),
}

/// A part of the history that is gone: it was trimmed or erased, or the hub has lost it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Gap {
    /// The ID after which the stream was requested.
    pub requested: String,
    /// The position of the oldest event that is stored; `None` if none is.
    pub oldest: Option<String>,
    /// `trimmed`, `foreign`, `lost` or `erased`.
    #[serde(default)]
    pub reason: String,
}

/// The end of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct TopicEnd {
    /// The topic.
    pub topic: String,
    /// `done`, `failed` or `cancelled`.
    pub outcome: String,
    /// A few words of the producer.
    pub reason: Option<String>,
    /// The position of the end.
    pub position: String,
}

/// The producer of a topic is asked to stop.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Stop {
    /// The topic.
    pub topic: String,
    /// A few words of whoever asks.
    pub reason: Option<String>,
    /// The position of the request.
    pub position: String,
}

#[derive(Deserialize)]
struct Position {
    position: String,
}

/// An event, or a report of the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// An event that was published.
    Event(ReceivedEvent),
    /// A report of the hub.
    Control(Control),
}

impl Item {
    pub(crate) fn of(event: ReceivedEvent) -> Self {
        if event.event_type.starts_with(PREFIX) {
            Self::Control(Control::of(event))
        } else {
            Self::Event(event)
        }
    }
}

impl Control {
    fn of(event: ReceivedEvent) -> Self {
        let known = match &event.event_type[PREFIX.len()..] {
            "position" => position(&event).map(Self::Position),
            "gap" => parsed(&event).map(Self::Gap),
            "end" => parsed(&event).map(Self::End),
            "stop" => parsed(&event).map(Self::Stop),
            "expired" => position(&event).map(Self::Expired),
            "heartbeat" => position(&event).map(Self::Heartbeat),
            _ => None,
        };
        known.unwrap_or(Self::Other(event))
    }
}

fn position(event: &ReceivedEvent) -> Option<String> {
    parsed(event).map(|Position { position }| position)
}

fn parsed<T: DeserializeOwned>(event: &ReceivedEvent) -> Option<T> {
    serde_json::from_str(&event.data).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(event_type: &str, data: &str) -> ReceivedEvent {
        let last_event_id = "1-2-3".into();
        ReceivedEvent { event_type: event_type.into(), data: data.into(), last_event_id }
    }

    #[track_caller]
    fn check(event_type: &str, data: &str, expected: Control) {
        assert_eq!(Item::of(event(event_type, data)), Item::Control(expected));
    }

    #[test]
    fn reports_are_typed() {
        let at = r#"{"position":"1-2-3"}"#;
        check("carafe.position", at, Control::Position("1-2-3".into()));
        check("carafe.expired", at, Control::Expired("1-2-3".into()));
        check("carafe.heartbeat", at, Control::Heartbeat("1-2-3".into()));
        let gap = Gap { requested: "x".into(), oldest: None, reason: "foreign".into() };
        check(
            "carafe.gap",
            r#"{"requested":"x","oldest":null,"reason":"foreign"}"#,
            Control::Gap(gap),
        );
        let (topic, position) = ("a".to_owned(), "1-2-3".to_owned());
        let end = TopicEnd { topic, outcome: "done".into(), reason: Some("r".into()), position };
        let data = r#"{"topic":"a","outcome":"done","reason":"r","position":"1-2-3"}"#;
        check("carafe.end", data, Control::End(end));
        let stop = Stop { topic: "a".into(), reason: None, position: "1-2-3".into() };
        check(
            "carafe.stop",
            r#"{"topic":"a","reason":null,"position":"1-2-3"}"#,
            Control::Stop(stop),
        );
    }

    #[test]
    fn unknown_reports_are_kept_and_other_types_are_events() {
        for (event_type, data) in [("carafe.new", "{}"), ("carafe.gap", "no JSON"), ("carafe.", "")]
        {
            check(event_type, data, Control::Other(event(event_type, data)));
        }
        for event_type in ["message", "carafe", "carafes.gap"] {
            let event = event(event_type, "{}");
            assert_eq!(Item::of(event.clone()), Item::Event(event));
        }
    }
}
