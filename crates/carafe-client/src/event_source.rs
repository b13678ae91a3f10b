//! The event source: a stream of events that survives its connections. It runs on the task that
//! polls it, and starts no task of its own.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use carafe_protocol::{Decoder, Received, ReceivedEvent};
use futures_core::Stream;
use tokio::time::{Sleep, sleep};

use crate::backoff::Backoff;
use crate::body::Body;
use crate::cause::Cause;
use crate::connection::{Answer, Request};
use crate::connections::Connections;
use crate::control::Item;
use crate::error::{Error, Lost};
use crate::options::{Bearer, EventSourceOptions};
use crate::saver::{Saver, Urgency};
use crate::state::{Announced, EndReason, State, States};
use crate::store::StoreFuture;
use crate::token::TokenRequest;

/// The events of a stream. It reconnects when the connection is lost.
///
/// After a lost connection it waits for the retry time of the stream and connects again. It sends
/// the last event ID, so that a server with a history resumes after that event. The stream ends
/// after `204 No Content` and after an [`Error`].
///
/// What the hub itself reports, such as a gap, is not among the events: see
/// [`next_item`](Self::next_item).
///
/// The source runs on the task that polls it, and reads no more than is asked for. Dropping it
/// closes the connection.
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
    connections: Connections,
    decoder: Decoder,
    backoff: Backoff,
    saver: Option<Saver>,
    announced: Announced,
    /// For the next connection.
    token: TokenRequest,
    phase: Phase,
}

enum Phase {
    Begun,
    Loading(StoreFuture<Option<String>>),
    Connecting(Pin<Box<dyn Future<Output = Answer> + Send>>),
    Open(Box<Body>),
    Waiting(Pin<Box<Sleep>>),
    /// With the error, until it is returned.
    Ended(Option<Error>),
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

    fn with_options(mut options: EventSourceOptions) -> Self {
        let decoder = Decoder::new()
            .with_limit(options.event_bytes)
            .with_last_event_id(options.last_event_id.as_str());
        let interval = options.save_interval;
        Self {
            connections: options.connections.take().unwrap_or_default(),
            decoder,
            backoff: Backoff::new(options.retry),
            saver: options.store.take().map(|store| Saver::new(store, interval)),
            announced: Announced::new(),
            token: TokenRequest::default(),
            phase: Phase::Begun,
            options,
        }
    }

    /// The next event; `None` once the source has ended. It may be dropped and called again.
    pub async fn next(&mut self) -> Option<Result<ReceivedEvent, Error>> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// The next event or report of the hub; `None` once the source has ended. It may be dropped and
    /// called again.
    pub async fn next_item(&mut self) -> Option<Result<Item, Error>> {
        poll_fn(|cx| self.poll_item(cx)).await
    }

    /// The ID of the event after which the stream resumes.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        self.decoder.last_event_id()
    }

    /// The present state.
    #[must_use]
    pub fn state(&self) -> &State {
        self.announced.state()
    }

    /// The changes of the state from now on. Each call returns all of them.
    #[must_use]
    pub fn states(&self) -> States {
        self.announced.states()
    }

    /// Saves the position in the [store](EventSourceOptions::store), including the event that was
    /// returned last. Call it before the program ends in order.
    ///
    /// # Errors
    /// When the position cannot be saved.
    pub async fn save(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_save(cx, Urgency::Last)).await.map_err(store_error)
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<ReceivedEvent, Error>>> {
        loop {
            match ready!(self.poll_item(cx)) {
                Some(Ok(Item::Control(_))) => {}
                Some(Ok(Item::Event(event))) => return Poll::Ready(Some(Ok(event))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }

    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Item, Error>>> {
        // The program asks for another item: it has handled the one before.
        if let Err(error) = ready!(self.poll_save(cx, Urgency::Busy)) {
            self.fail(store_error(error));
        }
        let polled = self.poll_source(cx);
        if polled.is_pending()
            && let Poll::Ready(Err(error)) = self.poll_save(cx, Urgency::Idle)
        {
            self.fail(store_error(error));
            return self.poll_source(cx);
        }
        polled
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Item, Error>>> {
        loop {
            match &mut self.phase {
                Phase::Begun => self.begin(),
                Phase::Loading(loading) => {
                    let loaded = ready!(loading.as_mut().poll(cx));
                    self.loaded(loaded);
                }
                Phase::Connecting(connecting) => {
                    let answer = ready!(connecting.as_mut().poll(cx));
                    self.answered(answer);
                }
                Phase::Open(body) if body.is_empty() => {
                    if let Err(lost) = ready!(body.poll_chunk(cx)) {
                        self.lost(lost);
                    }
                }
                Phase::Open(_) => {
                    if let Some(item) = self.decode() {
                        return Poll::Ready(Some(Ok(item)));
                    }
                }
                Phase::Waiting(sleep) => {
                    ready!(sleep.as_mut().poll(cx));
                    self.connect();
                }
                Phase::Ended(_) => return self.poll_ended(cx),
            }
        }
    }

    fn begin(&mut self) {
        match &self.saver {
            Some(saver) => self.phase = Phase::Loading(saver.load()),
            None => self.connect(),
        }
    }

    fn loaded(&mut self, loaded: io::Result<Option<String>>) {
        match loaded {
            Ok(position) => {
                if let (Some(position), Some(saver)) = (position, &mut self.saver) {
                    saver.loaded(&position);
                    let decoder = std::mem::take(&mut self.decoder);
                    self.decoder = decoder.with_last_event_id(position);
                }
                self.connect();
            }
            Err(error) => self.fail(store_error(error)),
        }
    }

    fn connect(&mut self) {
        if !matches!(self.announced.state(), State::Connecting) {
            self.set_state(State::Connecting);
        }
        let options = &mut self.options;
        if let Some(name) = options.unsendable_header.take() {
            return self.fail(Error::UnsendableHeader(name));
        }
        let request = Request {
            client: self.connections.client.clone(),
            url: options.url.clone(),
            method: options.method.clone(),
            headers: options.headers.clone(),
            body: options.body.clone(),
            last_event_id: self.decoder.last_event_id().into(),
            // Fetched before each connection: the previous token may have expired.
            token: options.bearer.as_mut().map(|bearer| bearer.fetch(self.token)),
            time: options.silence,
        };
        self.phase = Phase::Connecting(Box::pin(request.answer()));
    }

    /// Moves to the phase that follows the outcome of a request.
    fn answered(&mut self, answer: Answer) {
        match answer {
            Answer::Open(response) => {
                self.token = TokenRequest::default();
                // Only until the first connection: later ones are always made again.
                self.options.first_must_succeed = false;
                let (head, body) = Body::of(response, self.options.silence);
                self.phase = Phase::Open(Box::new(body));
                self.set_state(State::Open(head));
            }
            Answer::NoContent => self.end(EndReason::Done),
            Answer::Lost(lost) if self.options.first_must_succeed => {
                self.fail(Error::Unreachable(lost));
            }
            Answer::Lost(lost) => self.lost(lost),
            // The token may have expired on the way.
            Answer::Unauthorized(_) if self.may_fetch_again() => {
                self.token.refused = true;
                self.connect();
            }
            Answer::Unauthorized(error) | Answer::Fatal(error) => self.fail(error),
        }
    }

    fn may_fetch_again(&self) -> bool {
        matches!(self.options.bearer, Some(Bearer::From(_))) && !self.token.refused
    }

    fn lost(&mut self, reason: Lost) {
        if let Phase::Open(body) = &self.phase {
            self.backoff.lasted(body.age());
        }
        // An event without its blank line is not delivered, and its ID does not count (9.2.6).
        self.decoder.next_stream();
        let least = match &reason {
            Lost::Refused { retry_after, .. } => retry_after.unwrap_or_default(),
            _ => Duration::ZERO,
        };
        let wait = self.backoff.next(least);
        self.phase = Phase::Waiting(Box::pin(sleep(wait)));
        self.set_state(State::Waiting { until: Instant::now() + wait, reason });
    }

    /// Decodes the received bytes up to the next item.
    fn decode(&mut self) -> Option<Item> {
        let Phase::Open(body) = &mut self.phase else { return None };
        match body.decode(&mut self.decoder) {
            Ok(Some(Received::Event(event))) => return Some(self.deliver(event)),
            Ok(Some(Received::Retry(time))) => {
                let (least, most) =
                    (self.options.retry_range.start(), self.options.retry_range.end());
                self.backoff.set_base(time.min(*most).max(*least));
            }
            Ok(Some(Received::Comment(_)) | None) => {}
            // It will be too large again: another connection would not help.
            Err(too_large) => self.fail(Error::TooLarge(too_large)),
        }
        None
    }

    fn deliver(&mut self, event: ReceivedEvent) -> Item {
        let item = Item::of(event);
        match &item {
            // At an event, not when the connection is made: a server that accepts streams and ends
            // them at once must not be asked again without a pause.
            Item::Event(_) => self.backoff.succeeded(),
            Item::Control(control) => {
                if let Some(on_control) = &mut self.options.on_control {
                    on_control(control);
                }
            }
        }
        item
    }

    fn fail(&mut self, error: Error) {
        self.end(EndReason::Failed(error));
    }

    fn end(&mut self, reason: EndReason) {
        let error = match &reason {
            EndReason::Failed(error) => Some(error.clone()),
            EndReason::Done => None,
        };
        if let Some(Error::Store(_)) = error {
            // It would fail again, and keep the error from being returned.
            self.saver = None;
        }
        self.phase = Phase::Ended(error);
        self.set_state(State::Ended(reason));
    }

    /// The last position is saved before the end is told.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Item, Error>>> {
        let saved = ready!(self.poll_save(cx, Urgency::Last));
        let Phase::Ended(error) = &mut self.phase else { return Poll::Ready(None) };
        let error = error.take();
        if saved.is_err() {
            self.saver = None;
        }
        Poll::Ready(error.or(saved.err().map(store_error)).map(Err))
    }

    fn poll_save(&mut self, cx: &mut Context<'_>, urgency: Urgency) -> Poll<io::Result<()>> {
        let is_wanted = match self.phase {
            // Nothing is known of the position before it was loaded.
            Phase::Begun | Phase::Loading(_) => false,
            Phase::Ended(_) => urgency == Urgency::Last,
            Phase::Connecting(_) | Phase::Open(_) | Phase::Waiting(_) => true,
        };
        match &mut self.saver {
            Some(saver) if is_wanted => saver.poll(cx, self.decoder.last_event_id(), urgency),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn set_state(&mut self, state: State) {
        self.announced.set(state);
        if let Some(on_state) = &mut self.options.on_state {
            on_state(self.announced.state());
        }
    }
}

fn store_error(error: io::Error) -> Error {
    Error::Store(Cause::of(error))
}

impl EventSourceOptions {
    /// Makes the event source. It connects when it is first polled.
    pub fn connect(self) -> EventSource {
        EventSource::with_options(self)
    }
}

impl Stream for EventSource {
    type Item = Result<ReceivedEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_event(cx)
    }
}
