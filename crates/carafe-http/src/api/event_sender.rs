//! Sends events to one client, from the handler of an event stream.

use std::error::Error;
use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use carafe_protocol::{Event, EventId};
use serde::Serialize;
use tokio::sync::mpsc;

/// Sends events to one client. Clones send to the same client.
///
/// ```
/// use carafe_http::EventStream;
/// use carafe_protocol::{Event, EventType};
///
/// const DONE: EventType = EventType::from_static("done");
///
/// async fn export() -> EventStream {
///     EventStream::new(async |events| {
///         for percent in [0, 50, 100] {
///             events.json(&serde_json::json!({"percent": percent})).await?;
///         }
///         events.send(Event::new("").with_type(DONE)).await?;
///         Ok(())
///     })
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Events {
    sender: mpsc::Sender<Bytes>,
    /// The number of the next event, if the events of the stream are numbered.
    next: Option<Arc<Mutex<usize>>>,
}

/// The client has left: nothing more can be sent.
///
/// ```
/// use std::time::Duration;
/// use carafe_http::{EventStream, Gone};
///
/// async fn ticks() -> EventStream {
///     EventStream::new(async |events| {
///         let ticks = events.clone();
///         // A task of its own is not dropped with the stream: it has to notice its end.
///         tokio::spawn(async move {
///             while ticks.data("tick").await != Err(Gone) {
///                 tokio::time::sleep(Duration::from_secs(1)).await;
///             }
///         });
///         events.closed().await;
///         Ok(())
///     })
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client is gone")]
pub struct Gone;

/// Why a handler ended its stream early, from any error by `?`. For the client, the stream ends
/// as if the handler had returned.
///
/// ```
/// use carafe_http::{EventStream, Events, HandlerError};
///
/// async fn sum(events: Events) -> Result<(), HandlerError> {
///     let mut sum = 0;
///     for number in ["1", "2", "three"] {
///         sum += number.parse::<u32>()?; // The stream ends here, after two events.
///         events.data(sum).await?;
///     }
///     Ok(())
/// }
///
/// async fn sums() -> EventStream {
///     EventStream::new(sum)
/// }
/// ```
#[derive(Debug)]
pub struct HandlerError(pub(super) Box<dyn Error + Send + Sync>);

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// Why a value was not sent as JSON.
///
/// ```
/// use std::collections::BTreeMap;
/// use carafe_http::{Events, Gone, JsonError};
///
/// // The keys of a JSON object are strings, so not every map can be sent.
/// async fn send(events: &Events, cells: &BTreeMap<(u8, u8), i32>) -> Result<(), Gone> {
///     match events.json(cells).await {
///         Err(JsonError::Gone(gone)) => Err(gone),
///         Err(error) => events.comment(format!("this table cannot be shown: {error}")).await,
///         Ok(()) => Ok(()),
///     }
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// The value cannot be serialized.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// The client has left.
    #[error(transparent)]
    Gone(#[from] Gone),
}

impl Events {
    pub(super) fn new(sender: mpsc::Sender<Bytes>) -> Self {
        Self { sender, next: None }
    }

    /// Numbers the events, from this number on.
    pub(super) fn number_from(mut self, next: usize) -> Self {
        self.next = Some(Arc::new(Mutex::new(next)));
        self
    }

    /// Sends an event. It waits while the client reads too slowly.
    ///
    /// # Errors
    /// When the client has left.
    pub async fn send(&self, event: Event) -> Result<(), Gone> {
        let room = self.sender.reserve().await.map_err(|_| Gone)?;
        match &self.next {
            // The lock covers both, so that events are queued in the order of their numbers.
            Some(next) if event.data().is_some() => {
                let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
                room.send(event.with_id(numbered(*next)).to_bytes().into());
                *next += 1;
            }
            _ => room.send(event.to_bytes().into()),
        }
        Ok(())
    }

    /// Sends data, without type and ID.
    ///
    /// # Errors
    /// When the client has left.
    pub async fn data(&self, data: impl Display) -> Result<(), Gone> {
        self.send(Event::new(data.to_string())).await
    }

    /// Sends a value as JSON.
    ///
    /// # Errors
    /// When the value cannot be serialized, or the client has left.
    pub async fn json(&self, value: &impl Serialize) -> Result<(), JsonError> {
        Ok(self.data(serde_json::to_string(value)?).await?)
    }

    /// Sends a comment, which clients ignore.
    ///
    /// # Errors
    /// When the client has left.
    pub async fn comment(&self, text: impl Into<String>) -> Result<(), Gone> {
        self.send(Event::comment(text)).await
    }

    /// Tells the client how long to wait before it reconnects.
    ///
    /// # Errors
    /// When the client has left.
    pub async fn retry(&self, time: Duration) -> Result<(), Gone> {
        self.send(Event::retry(time)).await
    }

    /// Waits until the client has left.
    pub async fn closed(&self) {
        self.sender.closed().await;
    }
}

impl HandlerError {
    /// Whether the handler ended because its client had left.
    pub(super) fn is_gone(&self) -> bool {
        self.0.is::<Gone>() || matches!(self.0.downcast_ref(), Some(JsonError::Gone(_)))
    }
}

fn numbered(number: usize) -> EventId {
    EventId::new(number.to_string()).expect("digits are a valid ID")
}
