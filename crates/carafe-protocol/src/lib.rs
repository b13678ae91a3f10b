//! The protocol of Carafe: Server-Sent Events, topics and positions. It does no I/O, reads no clock
//! and needs no runtime.
//!
//! - [`Event`] and its encoder, which no text can make inject a field;
//! - [`Decoder`], which follows the WHATWG algorithm however the bytes are split;
//! - [`Topic`] and [`TopicMatcher`]: where events are published, and what subscribers select;
//! - [`Position`]: the place of an event in its log, which is the event ID on the wire.
//!
//! ```
//! use carafe_protocol::{Decoder, Event, EventType, Received};
//!
//! let event = Event::new("12 cups").with_type(EventType::new("brewed")?);
//! let bytes = event.to_bytes();
//! assert_eq!(bytes, b"event: brewed\ndata: 12 cups\n\n");
//!
//! let mut input = &bytes[..];
//! let Some(Received::Event(received)) = Decoder::new().decode(&mut input)? else { panic!() };
//! assert_eq!(received.data, "12 cups");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod decoder;
mod event;
#[cfg(feature = "topics")]
mod matcher;
#[cfg(feature = "topics")]
mod pattern;
mod position;
#[cfg(feature = "topics")]
mod template;
#[cfg(feature = "topics")]
mod topic;

pub use decoder::{Decoder, EventTooLarge, Received, ReceivedEvent};
pub use event::{BadEventId, BadEventType, Event, EventId, EventType, HEARTBEAT};
#[cfg(feature = "topics")]
pub use matcher::{BadMatcher, TopicMatcher};
#[cfg(feature = "topics")]
pub use pattern::{BadPattern, PatternSegment, TopicPattern};
pub use position::{BadPosition, Generation, Nonce, Offset, Position};
#[cfg(feature = "topics")]
pub use topic::{BadTopic, Topic};
