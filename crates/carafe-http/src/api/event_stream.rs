//! An event stream for one connection, as the response of any axum handler.

use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use carafe_protocol::{Event, HEARTBEAT};
use futures_core::Stream;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use http_body::Frame;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::answer::headers::stream_headers;
use crate::answer::heartbeat::{self, Heartbeat};
use crate::answer::stream_drain::EndsOnDrain;
use crate::api::event_sender::{Events, HandlerError};
use crate::api::last_event_id::LastEventId;

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
/// client leaves, the future is dropped at its next `await`. A comment is sent after 15 s without
/// output; see [`heartbeat`](Self::heartbeat).
///
/// The stream ends when the handler returns. **Then `EventSource` reconnects, and the handler runs
/// again.** A stream that has an end, such as an export or the answer of a language model, is made
/// with [`resume_from`](Self::resume_from), or tells the client that it is over by
/// [`ended`](Self::ended).
///
/// A handler that returns an error ends its stream, too. The error is logged at the level `warn`,
/// and sent to the client if [`on_error`](Self::on_error) says how.
///
/// [`serve`](crate::serve) ends the stream when it drains. Under `axum::serve`, a
/// [`StreamDrain`](crate::StreamDrain) does.
#[must_use]
pub struct EventStream {
    /// `None` if the stream has ended for good.
    body: Option<EventBody>,
}

type Handler = Pin<Box<dyn Future<Output = Result<(), HandlerError>> + Send>>;

type OnError = Box<dyn FnOnce(&(dyn Error + Send + Sync)) -> Event + Send>;

/// The last event of a stream that ends for good, with the ID [`END_ID`].
const END: &[u8] = b"event: carafe.end\ndata: {\"outcome\":\"done\"}\nid: end\n\n";

/// The last event ID of a client that has received everything. The other IDs are numbers.
const END_ID: &str = "end";

impl EventStream {
    /// A stream of the events that `handler` sends until it returns.
    pub fn new<H, F>(handler: H) -> Self
    where
        H: FnOnce(Events) -> F,
        F: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        let (sender, events) = mpsc::channel(WAITING);
        Self::of_handler(handler(Events::new(sender)), events, None)
    }

    /// A stream with an end, which a client receives once and whole, over however many connections.
    ///
    /// The events have consecutive numbers as IDs, in place of any ID that the handler sets. The
    /// handler receives the number of the first event that the client lacks, which is 0 for a new
    /// client, and sends the events from there on. When it returns, an event of the type
    /// `carafe.end` tells the client that it has everything. `EventSource` reconnects even then,
    /// and is answered with status 204, which stops it; the handler does not run again.
    ///
    /// The events have to be the same at each request: what is costly, or happens only once, has to
    /// run elsewhere and be stored. The example `answers` shows how an answer that is generated
    /// once reaches each client whole.
    ///
    /// ```
    /// use carafe_http::{EventStream, LastEventId};
    ///
    /// const LINES: [&str; 3] = ["Grind.", "Tamp.", "Pour."];
    ///
    /// async fn recipe(last: LastEventId) -> EventStream {
    ///     EventStream::resume_from(last, |events, next| async move {
    ///         for line in LINES.iter().skip(next) {
    ///             events.data(line).await?;
    ///         }
    ///         Ok(())
    ///     })
    /// }
    /// ```
    pub fn resume_from<H, F>(last: LastEventId, handler: H) -> Self
    where
        H: FnOnce(Events, usize) -> F,
        F: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        let last = last.0.unwrap_or_default();
        if last == END_ID {
            return Self::ended();
        }
        // An ID that is no number is not of this stream.
        let next = last.parse().ok().and_then(|last: usize| last.checked_add(1)).unwrap_or(0);
        let (sender, events) = mpsc::channel(WAITING);
        let handler = handler(Events::new(sender).number_from(next), next);
        Self::of_handler(handler, events, Some(Bytes::from_static(END)))
    }

    /// A stream that is over: status 204, after which `EventSource` does not reconnect (WHATWG
    /// HTML, 9.2.3).
    ///
    /// ```
    /// use carafe_http::{EventStream, LastEventId};
    /// use carafe_protocol::{Event, EventId};
    ///
    /// async fn notice(LastEventId(last): LastEventId) -> EventStream {
    ///     if last.as_deref() == Some("read") {
    ///         return EventStream::ended();
    ///     }
    ///     EventStream::new(async |events| {
    ///         let read = EventId::new("read")?;
    ///         events.send(Event::new("The bar closes at six.").with_id(read)).await?;
    ///         Ok(())
    ///     })
    /// }
    /// ```
    pub fn ended() -> Self {
        Self { body: None }
    }

    fn of_handler(
        handler: impl Future<Output = Result<(), HandlerError>> + Send + 'static,
        events: mpsc::Receiver<Bytes>,
        end: Option<Bytes>,
    ) -> Self {
        let heartbeat = Heartbeat::every(Some(heartbeat::DEFAULT));
        let handler: Handler = Box::pin(handler);
        let beat = Bytes::from_static(HEARTBEAT);
        let body =
            EventBody { handler: Some(handler), events, heartbeat, beat, end, on_error: None };
        Self { body: Some(body) }
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
        if let Some(body) = &mut self.body {
            body.heartbeat = Heartbeat::every(interval);
        }
        self
    }

    /// Sends this event in place of the comment, for pages that notice only events.
    ///
    /// ```
    /// use std::time::Duration;
    /// use carafe_http::EventStream;
    /// use carafe_protocol::{Event, EventType};
    ///
    /// const ALIVE: EventType = EventType::from_static("alive");
    ///
    /// async fn rare() -> EventStream {
    ///     let stream = EventStream::new(async |events| {
    ///         tokio::time::sleep(Duration::from_secs(3600)).await;
    ///         events.data("the hour is over").await?;
    ///         Ok(())
    ///     });
    ///     stream.heartbeat_event(&Event::new("{}").with_type(ALIVE))
    /// }
    /// ```
    pub fn heartbeat_event(mut self, event: &Event) -> Self {
        if let Some(body) = &mut self.body {
            body.beat = event.to_bytes().into();
        }
        self
    }

    /// Sends the client an event when the handler returns an error, after the events that it has
    /// sent. By default the client is sent nothing: an error may tell more than clients should
    /// know.
    ///
    /// ```
    /// use carafe_http::{EventStream, Events, HandlerError};
    /// use carafe_protocol::{Event, EventType};
    ///
    /// const FAILED: EventType = EventType::from_static("failed");
    ///
    /// async fn export(events: Events) -> Result<(), HandlerError> {
    ///     events.data(std::fs::read_to_string("orders.csv")?).await?;
    ///     Ok(())
    /// }
    ///
    /// async fn exports() -> EventStream {
    ///     EventStream::new(export).on_error(|_| Event::new("try again later").with_type(FAILED))
    /// }
    /// ```
    pub fn on_error(
        mut self,
        event: impl FnOnce(&(dyn Error + Send + Sync)) -> Event + Send + 'static,
    ) -> Self {
        if let Some(body) = &mut self.body {
            body.on_error = Some(Box::new(event));
        }
        self
    }
}

impl IntoResponse for EventStream {
    fn into_response(self) -> Response {
        let Some(body) = self.body else {
            let not_stored = [(CACHE_CONTROL, HeaderValue::from_static("no-store"))];
            return (StatusCode::NO_CONTENT, not_stored).into_response();
        };
        (Extension(EndsOnDrain), stream_headers(), Body::new(body)).into_response()
    }
}

struct EventBody {
    handler: Option<Handler>,
    events: mpsc::Receiver<Bytes>,
    heartbeat: Heartbeat,
    /// What is sent after a silence.
    beat: Bytes,
    /// What is sent after the handler has returned.
    end: Option<Bytes>,
    on_error: Option<OnError>,
}

impl EventBody {
    /// Polls the handler, and then takes the events that it has sent.
    fn poll_events(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(handler) = &mut self.handler
            && let Poll::Ready(ended) = handler.as_mut().poll(cx)
        {
            self.handler = None;
            if let Err(error) = ended {
                self.failed(&error);
            }
        }
        // After the handler: it may have filled the queue just now, or waits for room in it. Taking
        // an event wakes it then.
        match self.events.poll_recv(cx) {
            Poll::Ready(Some(first)) => Poll::Ready(Some(self.concat(first))),
            // Clones of the sender may still exist elsewhere: the handler's return ends the
            // stream all the same.
            Poll::Pending if self.handler.is_some() => Poll::Pending,
            Poll::Pending | Poll::Ready(None) => Poll::Ready(self.end.take()),
        }
    }

    fn failed(&mut self, error: &HandlerError) {
        if error.is_gone() {
            return debug!("the handler of an event stream ended: its client had left");
        }
        warn!(error = &error.0, "the handler of an event stream failed");
        self.end = self.on_error.take().map(|event| event(&*error.0).to_bytes().into());
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
            Poll::Pending => self.heartbeat.poll(cx).map(|()| Some(self.beat.clone())),
        };
        polled.map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}
