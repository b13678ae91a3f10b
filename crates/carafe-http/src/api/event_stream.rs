//! An event stream for one connection, as the response of any axum handler.

use std::convert::Infallible;
use std::error::Error;
use std::fmt::Display;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use carafe_protocol::{Event, HEARTBEAT};
use futures_core::Stream;
use http_body::Frame;
use serde::Serialize;
use tokio::sync::mpsc;
use tracing::debug;

use crate::answer::headers::stream_headers;
use crate::answer::heartbeat::{self, Heartbeat};
use crate::answer::stream_drain::EndsOnDrain;

/// Events that may be queued before `send` waits.
const WAITING: usize = 16;

/// The most bytes of queued events in one chunk.
const CHUNK: usize = 64 << 10;

/// An event stream whose handler pushes.
///
/// ```
/// use std::time::Duration;
/// use carafe_http::EventStream;
///
/// async fn count() -> EventStream {
///     EventStream::new(async |events| {
///         for count in 1.. {
///             tokio::time::sleep(Duration::from_secs(1)).await;
///             events.data(count).await?;
///         }
///         Ok(())
///     })
/// }
/// ```
///
/// The handler's future runs as part of the response, without a task of its own. When the
/// client leaves, the future is dropped at its next `await`. The stream ends when the handler
/// returns. A comment is sent after 15 s without output; see [`heartbeat`](Self::heartbeat).
///
/// [`serve`](crate::serve) ends the stream when it drains. Under `axum::serve`, a
/// [`StreamDrain`](crate::StreamDrain) does.
#[must_use]
pub struct EventStream {
    handler: Handler,
    events: mpsc::Receiver<Bytes>,
    heartbeat: Option<Duration>,
}

type Handler = Pin<Box<dyn Future<Output = Result<(), HandlerError>> + Send>>;

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
pub struct HandlerError(Box<dyn Error + Send + Sync>);

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

impl EventStream {
    /// A stream of the events that `handler` sends until it returns.
    pub fn new<H, F>(handler: H) -> Self
    where
        H: FnOnce(Events) -> F,
        F: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        let (sender, events) = mpsc::channel(WAITING);
        let handler = Box::pin(handler(Events { sender }));
        Self { handler, events, heartbeat: Some(heartbeat::DEFAULT) }
    }

    /// A stream of these events.
    pub fn from_stream(events: impl Stream<Item = Event> + Send + 'static) -> Self {
        Self::new(|sender| async move {
            let mut events = Box::pin(events);
            while let Some(event) = std::future::poll_fn(|cx| events.as_mut().poll_next(cx)).await {
                sender.send(event).await?;
            }
            Ok(())
        })
    }

    /// Sets the silence after which a comment is sent to keep the stream open; `None` sends
    /// none.
    pub fn heartbeat(mut self, interval: Option<Duration>) -> Self {
        self.heartbeat = interval;
        self
    }
}

impl Events {
    /// Sends an event. It waits while the client reads too slowly.
    ///
    /// # Errors
    /// When the client has left.
    pub async fn send(&self, event: Event) -> Result<(), Gone> {
        self.sender.send(event.to_bytes().into()).await.map_err(|_| Gone)
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

impl IntoResponse for EventStream {
    fn into_response(self) -> Response {
        let body = EventBody {
            handler: Some(self.handler),
            events: self.events,
            heartbeat: Heartbeat::every(self.heartbeat),
        };
        (Extension(EndsOnDrain), stream_headers(), Body::new(body)).into_response()
    }
}

struct EventBody {
    handler: Option<Handler>,
    events: mpsc::Receiver<Bytes>,
    heartbeat: Heartbeat,
}

impl EventBody {
    /// Polls the handler, and then takes the events that it has sent.
    fn poll_events(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(handler) = &mut self.handler
            && let Poll::Ready(ended) = handler.as_mut().poll(cx)
        {
            self.handler = None;
            if let Err(HandlerError(error)) = ended {
                debug!(error, "an event stream's handler ended early");
            }
        }
        // After the handler: it may have filled the queue just now, or waits for room in it. Taking
        // an event wakes it then.
        match self.events.poll_recv(cx) {
            // Clones of the sender may still exist elsewhere: the handler's return ends the
            // stream all the same.
            Poll::Pending if self.handler.is_none() => Poll::Ready(None),
            Poll::Ready(Some(first)) => Poll::Ready(Some(self.concat(first))),
            other => other,
        }
    }

    fn concat(&mut self, first: Bytes) -> Bytes {
        let mut joined = first;
        while joined.len() < CHUNK
            && let Ok(next) = self.events.try_recv()
        {
            // Copies, so that many small events cost one chunk and one write. At most `WAITING`
            // events are queued.
            joined = [joined, next].concat().into();
        }
        joined
    }
}

impl http_body::Body for EventBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let polled = match self.poll_events(cx) {
            Poll::Ready(events) => {
                self.heartbeat.reset();
                Poll::Ready(events)
            }
            Poll::Pending => self.heartbeat.poll(cx).map(|()| Some(Bytes::from_static(HEARTBEAT))),
        };
        polled.map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}
