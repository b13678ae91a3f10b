//! A subscriber that a test polls by hand.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use carafe_hub::{Delivery, Format, Frames, Gap, GapReason, Subscription};
use carafe_log::{Entry, Kind};
use carafe_protocol::{Decoder, Position, Received, ReceivedEvent, Topic};
use futures_core::Stream;
use serde_json::Value;

/// Polls a subscription, as entries or as the bytes that a client receives, and counts its wakes.
pub(crate) struct Listener {
    stream: Source,
    wakes: Arc<Wakes>,
}

enum Source {
    Entries(Subscription),
    Frames(Box<(Frames, Decoder)>, Format),
}

/// The result of one poll.
#[derive(Debug, PartialEq)]
pub(crate) enum Polled {
    /// One delivery, or everything in one chunk of frames.
    Items(Vec<Item>),
    Waiting,
    Ended,
}

/// What a subscriber receives, in any format.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Item {
    Position(Position),
    Gap(Gap),
    Event(EventFields),
}

/// The fields of an event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EventFields {
    pub(crate) position: Position,
    pub(crate) event_type: Option<String>,
    pub(crate) data: String,
    /// Plain frames have no topics.
    pub(crate) topics: Option<Vec<String>>,
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Listener {
    /// In this format, or as entries.
    pub(crate) fn new(subscription: Subscription, format: Option<Format>) -> Self {
        let stream = match format {
            None => Source::Entries(subscription),
            Some(format) => {
                Source::Frames(Box::new((subscription.into_frames(format), Decoder::new())), format)
            }
        };
        Self { stream, wakes: Arc::default() }
    }

    pub(crate) fn format(&self) -> Option<Format> {
        match &self.stream {
            Source::Entries(_) => None,
            Source::Frames(_, format) => Some(*format),
        }
    }

    /// How often the subscriber was woken.
    pub(crate) fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::SeqCst)
    }

    pub(crate) fn poll(&mut self) -> Polled {
        let waker = Waker::from(Arc::clone(&self.wakes));
        let mut cx = Context::from_waker(&waker);
        let polled = match &mut self.stream {
            Source::Entries(subscription) => Pin::new(subscription)
                .poll_next(&mut cx)
                .map(|next| next.map(|delivery| vec![delivery.into()])),
            Source::Frames(frames, format) => {
                let (frames, decoder) = &mut **frames;
                Pin::new(frames)
                    .poll_next(&mut cx)
                    .map(|next| next.map(|chunk| receive(decoder, &chunk, *format)))
            }
        };
        match polled {
            Poll::Ready(Some(items)) => Polled::Items(items),
            Poll::Ready(None) => Polled::Ended,
            Poll::Pending => Polled::Waiting,
        }
    }

    /// Everything that is ready now. The stream must not end.
    pub(crate) fn receive(&mut self) -> Vec<Item> {
        let (items, end) = self.hear_out();
        assert_eq!(end, Polled::Waiting);
        items
    }

    /// Everything until the stream ends.
    pub(crate) fn hear_to_the_end(&mut self) -> Vec<Item> {
        let (items, end) = self.hear_out();
        assert_eq!(end, Polled::Ended);
        items
    }

    /// Everything that is ready now, and the result of the poll after it.
    pub(crate) fn hear_out(&mut self) -> (Vec<Item>, Polled) {
        let mut all = Vec::new();
        loop {
            match self.poll() {
                Polled::Items(items) => all.extend(items),
                end @ (Polled::Waiting | Polled::Ended) => return (all, end),
            }
        }
    }

    /// What an idle stream of frames sends instead of a heartbeat.
    pub(crate) fn position_if_moved(&mut self) -> Option<Item> {
        let Source::Frames(frames, format) = &mut self.stream else {
            panic!("only frames repeat their position");
        };
        let (frames, decoder) = &mut **frames;
        let chunk = frames.instead_of_heartbeat()?;
        Some(receive(decoder, &chunk, *format).remove(0))
    }
}

/// Decodes a chunk of whole frames.
fn receive(decoder: &mut Decoder, mut chunk: &[u8], format: Format) -> Vec<Item> {
    assert!(chunk.ends_with(b"\n\n"));
    let mut items = Vec::new();
    while let Some(received) = decoder.decode(&mut chunk).unwrap() {
        let Received::Event(event) = received else { panic!("{received:?}") };
        items.push(Item::of(event, format));
    }
    items
}

impl Item {
    /// The position after which the subscriber resumes.
    pub(crate) fn position(&self) -> Position {
        match self {
            Self::Position(position) => *position,
            Self::Gap(gap) => gap.resume_after,
            Self::Event(said) => said.position,
        }
    }

    pub(crate) fn of(event: ReceivedEvent, format: Format) -> Self {
        let position = event.last_event_id.parse().unwrap();
        match event.event_type.as_str() {
            "carafe.position" => {
                assert_eq!(event.data, format!("{{\"position\":\"{position}\"}}"));
                Self::Position(position)
            }
            "carafe.gap" => Self::Gap(gap_of(&event.data, position)),
            "carafe.end" | "carafe.stop" => {
                let (event_type, data) = (Some(event.event_type), event.data);
                Self::Event(EventFields { position, event_type, data, topics: None }.normal())
            }
            _ if format == Format::Enveloped => Self::Event(said_in_envelope(&event, position)),
            _ => Self::Event(EventFields {
                position,
                event_type: Some(event.event_type).filter(|text| text != "message"),
                data: event.data,
                topics: None,
            }),
        }
    }
}

fn gap_of(json: &str, resume_after: Position) -> Gap {
    let json: Value = serde_json::from_str(json).unwrap();
    let reason = match text(&json["reason"]).as_str() {
        "trimmed" => GapReason::Trimmed,
        "foreign" => GapReason::Foreign,
        "lost" => GapReason::Lost,
        "erased" => GapReason::Erased,
        other => panic!("{other}"),
    };
    let oldest = json["oldest"].as_str().map(|oldest| oldest.parse().unwrap());
    Gap::new(text(&json["requested"]), reason, resume_after).with_oldest(oldest)
}

fn said_in_envelope(event: &ReceivedEvent, position: Position) -> EventFields {
    let json: Value = serde_json::from_str(&event.data).unwrap();
    assert_eq!((event.event_type.as_str(), text(&json["id"])), ("message", position.to_string()));
    let alternates = json["alternates"].as_array().into_iter().flatten();
    EventFields {
        position,
        event_type: json.get("type").map(text),
        data: text(&json["data"]),
        topics: Some(std::iter::once(&json["topic"]).chain(alternates).map(text).collect()),
    }
}

fn text(json: &Value) -> String {
    json.as_str().unwrap().to_owned()
}

impl EventFields {
    /// Whether it says that a topic has ended, or that it shall.
    pub(crate) fn is_report(&self) -> bool {
        self.event_type.as_deref().is_some_and(|text| text.starts_with("carafe."))
    }

    /// What a stream says of an end or a stop, in any format.
    fn of_life(entry: &Entry, of: &str) -> Self {
        let mut json = serde_json::json!({
            "topic": entry.topic().as_str(),
            "position": entry.position.to_string(),
            "reason": Some(entry.data()).filter(|reason| !reason.is_empty()),
        });
        if let Kind::End(outcome) = entry.publication.kind() {
            json["outcome"] = outcome.as_str().into();
        }
        let event_type = Some(format!("carafe.{of}"));
        Self { position: entry.position, event_type, data: json.to_string(), topics: None }
    }

    /// The same with the members of JSON data in the order of their names.
    fn normal(mut self) -> Self {
        if self.is_report() {
            let json: Value = serde_json::from_str(&self.data).unwrap();
            self.data = json.to_string();
        }
        self
    }

    /// The fields of an entry in this format, or as the entry itself.
    pub(crate) fn of(entry: &Entry, format: Option<Format>) -> Self {
        match entry.publication.kind() {
            Kind::End(_) => return Self::of_life(entry, "end"),
            Kind::Stop => return Self::of_life(entry, "stop"),
            _ => {}
        }
        let (publication, event) = (&entry.publication, entry.publication.event());
        let topics = || publication.topics().map(Topic::to_string).collect();
        Self {
            position: entry.position,
            event_type: event.event_type().map(ToString::to_string),
            data: event.data().unwrap().to_owned(),
            topics: (format != Some(Format::Plain)).then(topics),
        }
    }
}

impl From<Delivery> for Item {
    fn from(delivery: Delivery) -> Self {
        match delivery {
            Delivery::Position(position) => Self::Position(position),
            Delivery::Gap(gap) => Self::Gap(gap),
            Delivery::Entry(entry) => {
                assert_eq!(entry.publication.kind(), Kind::Event);
                Self::Event(EventFields::of(&entry, None))
            }
            Delivery::End(entry) => Self::Event(EventFields::of_life(&entry, "end")),
            Delivery::Stop(entry) => Self::Event(EventFields::of_life(&entry, "stop")),
            other => panic!("{other:?}"),
        }
    }
}
