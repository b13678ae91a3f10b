//! The event source: a stream of events that survives its connections. It runs on the task that
//! polls it, and starts no task of its own.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use carafe_protocol::{Decoder, Received, ReceivedEvent};
use futures_core::Stream;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, Response};
use tokio::time::{Instant, Sleep, sleep};

use crate::backoff::Backoff;
use crate::connection::{Answer, request};
use crate::error::{Error, Lost, TransportError};
use crate::http::client;
use crate::options::EventSourceOptions;

/// The events of a stream. It reconnects when the connection is lost.
///
/// After a lost connection it waits for the retry time of the stream and connects again. It sends
/// the last event ID, so that a server with a history resumes after that event. The stream ends
/// after `204 No Content` and after an [`Error`].
///
/// Events of the hub itself, such as `carafe.gap`, are hidden unless
/// [`with_control_events`](EventSourceOptions::with_control_events) asks for them.
///
/// ```no_run
/// use carafe_client::EventSource;
///
/// # async fn example() -> Result<(), carafe_client::Error> {
/// let mut events = EventSource::new("http://127.0.0.1:3000/events/orders");
/// while let Some(event) = events.next().await {
///     let event = event?;
///     println!("{}: {}", event.event_type, event.data);
/// }
/// # Ok(()) }
/// ```
pub struct EventSource {
    options: EventSourceOptions,
    client: Client,
    decoder: Decoder,
    backoff: Backoff,
    was_open: bool,
    phase: Phase,
}

enum Phase {
    Waiting(Pin<Box<Sleep>>),
    Connecting(Pin<Box<dyn Future<Output = Answer> + Send>>),
    Open(Box<Open>),
    Closed,
}

/// An open connection.
struct Open {
    body: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
    /// Bytes that have arrived and are not decoded yet.
    chunk: Bytes,
    /// Elapses when the connection counts as dead; reset by each chunk.
    dead: Pin<Box<Sleep>>,
}

impl EventSource {
    /// Reads `url` with the default options.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self::options(url).connect()
    }

    /// The options of an event source for `url`.
    pub fn options(url: impl Into<String>) -> EventSourceOptions {
        EventSourceOptions::new(url)
    }

    fn with_options(options: EventSourceOptions) -> Self {
        let decoder = Decoder::new()
            .with_limit(options.event_bytes)
            .with_last_event_id(options.last_event_id.as_str());
        let mut source = Self {
            client: client(),
            decoder,
            backoff: Backoff::new(options.retry),
            was_open: false,
            phase: Phase::Closed,
            options,
        };
        // Nothing is sent yet: the request is a future, which runs when the source is first polled.
        source.phase = source.connecting();
        source
    }

    /// The next event; `None` once the source has ended.
    pub async fn next(&mut self) -> Option<Result<ReceivedEvent, Error>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// The ID of the event after which the stream resumes.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        self.decoder.last_event_id()
    }

    fn connecting(&mut self) -> Phase {
        let headers = match self.headers() {
            Ok(headers) => headers,
            Err(error) => return Phase::Connecting(Box::pin(async { Answer::Fatal(error) })),
        };
        let (client, url) = (self.client.clone(), self.options.url.clone());
        // Fetched before each connection: the previous token may have expired.
        let token = self.options.bearer.as_mut().map(|token| token());
        Phase::Connecting(Box::pin(request(client, url, headers, token, self.options.idle)))
    }

    fn headers(&self) -> Result<HeaderMap, Error> {
        let mut headers = HeaderMap::new();
        let id = self.decoder.last_event_id();
        if !id.is_empty() {
            // UTF-8 as it is, as browsers send it. Resuming without an ID that cannot be sent would
            // skip events silently.
            let id = HeaderValue::from_bytes(id.as_bytes()).map_err(|_| Error::UnsendableId)?;
            headers.insert("last-event-id", id);
        }
        Ok(headers)
    }

    /// Moves to the phase that follows the outcome of a request. An error ends the source.
    fn answered(&mut self, answer: Answer) -> Result<(), Error> {
        match answer {
            Answer::Open(response) => {
                self.was_open = true;
                self.phase = Phase::Open(Box::new(Open::new(response, &self.options)));
                Ok(())
            }
            Answer::NoContent => {
                self.phase = Phase::Closed;
                Ok(())
            }
            // Only until the first connection: later ones are always made again.
            Answer::Lost(lost) if self.options.first_must_succeed && !self.was_open => {
                Err(Error::Unreachable(lost))
            }
            Answer::Lost(lost) => {
                self.lost(&lost);
                Ok(())
            }
            Answer::Fatal(error) => Err(error),
        }
    }

    fn lost(&mut self, lost: &Lost) {
        if let Some(on_lost) = &mut self.options.on_lost {
            on_lost(lost);
        }
        // An event without its blank line is not delivered, and its ID does not count (9.2.6).
        self.decoder.next_stream();
        let wait = match lost {
            // `Retry-After` is a minimum. The backoff is counted all the same.
            Lost::Refused { retry_after: Some(time), .. } => self.backoff.next().max(*time),
            _ => self.backoff.next(),
        };
        self.phase = Phase::Waiting(Box::pin(sleep(wait)));
    }

    /// Decodes the received bytes up to the next event.
    fn decode(&mut self) -> Result<Option<ReceivedEvent>, Error> {
        let Phase::Open(open) = &mut self.phase else { return Ok(None) };
        let mut input = &open.chunk[..];
        let received = self.decoder.decode(&mut input);
        // `input` is a part of the chunk, so `slice_ref` cannot panic. The rest waits until the
        // next poll.
        open.chunk = open.chunk.slice_ref(input);
        match received? {
            Some(Received::Event(event)) => Ok(Some(event)),
            Some(Received::Retry(time)) => {
                let (least, most) =
                    (self.options.retry_range.start(), self.options.retry_range.end());
                self.backoff.set_base(time.min(*most).max(*least));
                Ok(None)
            }
            Some(Received::Comment(_)) | None => Ok(None),
        }
    }

    fn close(&mut self, error: Error) -> Poll<Option<Result<ReceivedEvent, Error>>> {
        self.phase = Phase::Closed;
        Poll::Ready(Some(Err(error)))
    }
}

/// Whether the hub itself has sent the event: applications cannot publish these types.
fn is_control(event: &ReceivedEvent) -> bool {
    event.event_type.starts_with("carafe.")
}

impl EventSourceOptions {
    /// Makes the event source. It connects when it is first polled.
    pub fn connect(self) -> EventSource {
        EventSource::with_options(self)
    }
}

impl Open {
    fn new(response: Response, options: &EventSourceOptions) -> Self {
        Self {
            body: Box::pin(response.bytes_stream()),
            chunk: Bytes::new(),
            dead: Box::pin(sleep(options.idle)),
        }
    }

    /// Waits for bytes. `Err` if the connection is lost.
    fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
        options: &EventSourceOptions,
    ) -> Poll<Result<(), Lost>> {
        // The body first: bytes that have arrived in time win over a timer that has elapsed
        // meanwhile.
        let Poll::Ready(chunk) = self.body.as_mut().poll_next(cx) else {
            return self.dead.as_mut().poll(cx).map(|()| Err(Lost::Idle(options.idle)));
        };
        // Any byte counts, so a heartbeat keeps a quiet stream alive.
        self.dead.as_mut().reset(Instant::now() + options.idle);
        Poll::Ready(match chunk {
            Some(Ok(chunk)) => {
                self.chunk = chunk;
                Ok(())
            }
            Some(Err(error)) => Err(Lost::Broken(TransportError::of(error))),
            None => Err(Lost::Ended),
        })
    }
}

impl Stream for EventSource {
    type Item = Result<ReceivedEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            match &mut this.phase {
                Phase::Waiting(sleep) => {
                    ready!(sleep.as_mut().poll(cx));
                    this.phase = this.connecting();
                }
                Phase::Connecting(connecting) => {
                    let answer = ready!(connecting.as_mut().poll(cx));
                    if let Err(error) = this.answered(answer) {
                        return this.close(error);
                    }
                }
                Phase::Open(open) if open.chunk.is_empty() => {
                    match ready!(open.poll_chunk(cx, &this.options)) {
                        Ok(()) => {}
                        Err(lost) => this.lost(&lost),
                    }
                }
                Phase::Open(_) => match this.decode() {
                    Ok(None) => {}
                    Ok(Some(event)) => {
                        // At an event, not when the connection is made: a server that accepts
                        // streams and ends them at once must not be asked again without a pause.
                        this.backoff.succeeded();
                        if this.options.control_events || !is_control(&event) {
                            return Poll::Ready(Some(Ok(event)));
                        }
                    }
                    // The event was too large, and will be so again: another connection would not
                    // help.
                    Err(error) => return this.close(error),
                },
                Phase::Closed => return Poll::Ready(None),
            }
        }
    }
}
