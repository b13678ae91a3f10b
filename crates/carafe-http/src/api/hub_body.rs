//! A subscription as the body of a response.
//!
//! hyper polls the body on the task of its connection, or of its HTTP/2 stream. It owns the
//! subscription's frames until a shard takes them.

use std::convert::Infallible;
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use carafe_fanout::{EndReason, NewStream, StreamObserver};
use carafe_hub::Frames;
use http_body::Frame;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::answer::heartbeat::Heartbeat;
use crate::api::options::Options;
use crate::observe::metrics::{DeliveryPath, FallbackReason};
use crate::observe::stream_record::StreamRecord;
use crate::policy::revocations::bearer::Watched;
use crate::server::handoff::Handoff;
use crate::server::stall::StallDetector;

/// Capacity for the opening of most streams.
const OPENING: usize = 96;

/// The frames of a subscription, and heartbeats while there are none.
///
/// With a handoff, only the opening comes from this body: it is written together with the head.
/// Then a shard takes the rest of the stream, with the socket of the connection.
pub(crate) struct HubBody {
    /// The first chunk, until it is sent.
    opening: Option<Bytes>,
    handoff: Option<Handoff>,
    stream: Option<NewStream<StreamRecord>>,
    heartbeat: Heartbeat,
    deadline: Option<Pin<Box<Sleep>>>,
    /// Whether the stream's rights were revoked. A shard asks in its own way.
    revoked: Revoked,
    /// The detector of the connection or HTTP/2 stream that polls the body, if there is one.
    stall: Option<StallDetector>,
}

impl HubBody {
    /// A body that ends with an event when the rights `expire`. The opening tells clients that
    /// understand it to reconnect after `retry`.
    pub(crate) fn new(
        mut frames: Frames,
        handoff: Option<Handoff>,
        options: &Options,
        retry: Option<Duration>,
        expires: Option<SystemTime>,
        observer: StreamRecord,
    ) -> Self {
        let until = expires.and_then(instant);
        let mut opening = Vec::with_capacity(OPENING);
        retry.into_iter().for_each(|retry| push_retry(retry, &mut opening));
        opening.extend_from_slice(&frames.opening());
        let interval = frames.heartbeat().interval().unwrap_or(options.heartbeat);
        Self {
            opening: Some(opening.into()),
            handoff,
            stream: Some(NewStream { frames, until: until.map(Instant::into_std), observer }),
            heartbeat: Heartbeat::every(Some(interval)),
            deadline: until.map(|until| Box::pin(sleep_until(until))),
            revoked: Revoked::NotAsked,
            stall: StallDetector::current(),
        }
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(opening) = self.opening.take() {
            self.count(&opening);
            if let Some(handoff) = &self.handoff {
                // With the opening, which the server compares with what hyper has written.
                handoff.offer(&mut self.stream, &opening, cx.waker());
            }
            return Poll::Ready(Some(opening));
        }
        if let Some(handoff) = &self.handoff {
            ready!(handoff.poll(cx, &mut self.stream));
            self.stays_with_hyper();
        }
        let chunk = ready!(self.poll_stream(cx));
        chunk.iter().for_each(|chunk| self.count(chunk));
        Poll::Ready(chunk)
    }

    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        // Polled before the frames: a stream that always has frames must expire, too.
        let is_over = |deadline: &mut Pin<Box<Sleep>>| deadline.as_mut().poll(cx).is_ready();
        let is_over = self.deadline.as_mut().is_some_and(is_over)
            || self.revoked.poll(&stream.observer, cx).is_ready();
        if is_over && stream.frames.may_expire() {
            let expired = stream.frames.expired();
            self.count(&expired);
            self.end(EndReason::Completed);
            return Poll::Ready(Some(expired));
        }
        if let Poll::Ready(chunk) = stream.frames.poll_at_hand(cx) {
            self.heartbeat.reset();
            if chunk.is_none() {
                let failed = stream.frames.has_failed();
                self.end(if failed { EndReason::Failed } else { EndReason::Completed });
            }
            return Poll::Ready(chunk);
        }
        ready!(self.heartbeat.poll(cx));
        Poll::Ready(Some(stream.frames.heartbeat_block()))
    }

    /// The handoff is declined: the body delivers the stream itself.
    fn stays_with_hyper(&mut self) {
        self.handoff = None;
        if let Some(stream) = &mut self.stream {
            stream.observer.moves_to(DeliveryPath::Hyper(FallbackReason::Changed));
        }
    }

    fn count(&mut self, chunk: &Bytes) {
        if let Some(stream) = &mut self.stream {
            let events = stream.frames.take_events();
            stream.observer.sent(chunk.len(), events);
        }
    }

    fn end(&mut self, reason: EndReason) {
        if let Some(stream) = self.stream.take() {
            stream.observer.ended(reason);
        }
    }
}

/// Whether the rights of a stream were revoked.
enum Revoked {
    /// The body has not begun to deliver the stream itself.
    NotAsked,
    /// No revocation can name them.
    Never,
    /// The watcher is boxed: few streams have one.
    Watched(Box<Watched>),
}

impl Revoked {
    fn poll(&mut self, record: &StreamRecord, cx: &mut Context<'_>) -> Poll<()> {
        if matches!(self, Self::NotAsked) {
            let watched = record.bearer().map(|bearer| Box::new(bearer.watch()));
            *self = watched.map_or(Self::Never, Self::Watched);
        }
        match self {
            Self::Watched(watched) => Pin::new(&mut **watched).poll(cx),
            Self::NotAsked | Self::Never => Poll::Pending,
        }
    }
}

impl Drop for HubBody {
    fn drop(&mut self) {
        if self.stream.is_none() {
            // The stream was offered and not taken: the client left in between, and the stream has
            // to be counted as ended.
            self.stream = self.handoff.as_ref().and_then(Handoff::take_back);
        }
        let stalled = self.stall.as_ref().is_some_and(StallDetector::has_stalled);
        self.end(if stalled { EndReason::Stalled } else { EndReason::Left });
    }
}

impl http_body::Body for HubBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.poll_chunk(cx).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}

/// The time by the monotonic clock; `None` if it is too far away to be represented.
pub(crate) fn instant(time: SystemTime) -> Option<Instant> {
    Instant::now().checked_add(time.duration_since(SystemTime::now()).unwrap_or_default())
}

/// The whole body of a stream that only tells when to reconnect.
pub(crate) fn come_back(retry: Duration) -> Bytes {
    let mut block = Vec::new();
    push_retry(retry, &mut block);
    block.push(b'\n');
    block.into()
}

/// Appends the line `retry:`, give or take a quarter, so that clients do not reconnect all at once.
///
/// Only the line: it becomes a part of the stream's first event. A block of its own would have no
/// ID, and clients that take the ID of each block would forget theirs.
fn push_retry(time: Duration, block: &mut Vec<u8>) {
    let time = time.mul_f64(rand::random_range(0.75..=1.25));
    writeln!(block, "retry: {}", time.as_millis()).expect("writing to memory does not fail");
}
