//! A subscription as the body of an answer.

use std::convert::Infallible;
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use carafe_fanout::{EndReason, NewStream, StreamObserver};
use carafe_hub::Frames;
use carafe_protocol::HEARTBEAT;
use http_body::Frame;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::api::heartbeat::Heartbeat;
use crate::api::options::Options;
use crate::observe::metrics::{DeliveryPath, FallbackReason};
use crate::observe::stream_record::StreamRecord;
use crate::server::handoff::Handoff;
use crate::server::stall::StallDetector;

/// Bytes that most streams open with, and a few more.
const OPENING: usize = 96;

/// The subscription's frames, with the time to wait before reconnecting in the first, and a sign of
/// life when they are rare.
///
/// Where there is a handoff, only what the stream opens with comes from here, to be written with the
/// head; then the stream goes to a shard with the connection's socket.
pub(crate) struct HubBody {
    /// Until it was said.
    opening: Option<Bytes>,
    handoff: Option<Handoff>,
    stream: Option<NewStream<StreamRecord>>,
    heartbeat: Heartbeat,
    deadline: Option<Pin<Box<Sleep>>>,
    /// Over what writes it, if it is watched.
    stall: Option<StallDetector>,
}

impl HubBody {
    /// A body that ends when it `expires`, and says so. It tells who wants it when to come back
    /// after that.
    pub(crate) fn new(
        mut frames: Frames,
        handoff: Option<Handoff>,
        options: &Options,
        retry: Option<Duration>,
        expires: Option<SystemTime>,
        open: StreamRecord,
    ) -> Self {
        let until = expires.and_then(instant);
        let mut opening = Vec::with_capacity(OPENING);
        retry.into_iter().for_each(|retry| push_retry(retry, &mut opening));
        opening.extend_from_slice(&frames.opening());
        Self {
            opening: Some(opening.into()),
            handoff,
            stream: Some(NewStream { frames, until: until.map(Instant::into_std), observer: open }),
            heartbeat: Heartbeat::every(Some(options.heartbeat)),
            deadline: until.map(|until| Box::pin(sleep_until(until))),
            stall: StallDetector::current(),
        }
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(opening) = self.opening.take() {
            self.handoff
                .iter()
                .for_each(|handoff| handoff.offer(&mut self.stream, &opening, cx.waker()));
            return Poll::Ready(Some(opening));
        }
        if let Some(handoff) = &self.handoff {
            ready!(handoff.poll(cx, &mut self.stream));
            self.stays();
        }
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        // Asked first: a busy stream ends too.
        let is_over = |deadline: &mut Pin<Box<Sleep>>| deadline.as_mut().poll(cx).is_ready();
        if stream.frames.may_expire() && self.deadline.as_mut().is_some_and(is_over) {
            let expired = stream.frames.expired();
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
        // The position takes the heartbeat's place if it has moved: a quiet stream resumes exactly,
        // too.
        ready!(self.heartbeat.poll(cx));
        let instead = stream.frames.instead_of_heartbeat();
        Poll::Ready(Some(instead.unwrap_or(Bytes::from_static(HEARTBEAT))))
    }

    /// No shard takes the stream.
    fn stays(&mut self) {
        self.handoff = None;
        if let Some(stream) = &mut self.stream {
            stream.observer.goes(DeliveryPath::Hyper(FallbackReason::Changed));
        }
    }

    fn end(&mut self, ended: EndReason) {
        if let Some(stream) = self.stream.take() {
            stream.observer.ended(ended);
        }
    }
}

impl Drop for HubBody {
    fn drop(&mut self) {
        if self.stream.is_none() {
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

/// When the time comes; `None` if it is too far to be counted.
fn instant(time: SystemTime) -> Option<Instant> {
    Instant::now().checked_add(time.duration_since(SystemTime::now()).unwrap_or_default())
}

/// All of a stream that only says when to come back.
pub(crate) fn come_back(retry: Duration) -> Bytes {
    let mut block = Vec::new();
    push_retry(retry, &mut block);
    block.push(b'\n');
    block.into()
}

/// The time to wait, give or take a quarter. Only the line: what follows makes it a part of the
/// stream's first event, since a block of its own would have no ID, and clients that take the ID of
/// each block would forget theirs.
fn push_retry(time: Duration, block: &mut Vec<u8>) {
    let time = time.mul_f64(rand::random_range(0.75..=1.25));
    writeln!(block, "retry: {}", time.as_millis()).expect("memory takes all that is written");
}
