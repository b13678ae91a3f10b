//! A subscription as the bytes of an event stream.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use carafe_protocol::HEARTBEAT;
use futures_core::Stream;
use smallvec::SmallVec;

use crate::format::Format;
use crate::heartbeat::Heartbeat;
use crate::recent_erasures::TopicBits;
use crate::subscription::replay::ReadLog;
use crate::subscription::stream::Subscription;

/// Bytes of frames that are joined in one chunk, approximately.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;

/// A subscription as the bytes of an event stream. Each item joins all frames that are ready, up to
/// about 64 KiB.
///
/// ```
/// use carafe_hub::{Format, Hub};
/// use carafe_log::MemoryLog;
/// use futures_util::StreamExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::new(MemoryLog::default());
/// let mut frames = hub.subscribe("orders").await?.into_frames(Format::Plain);
/// let opening = format!("event: carafe.position\ndata: {{\"position\":\"{0}\"}}\nid: {0}\n\n", hub.position());
/// assert_eq!(frames.next().await.as_deref(), Some(opening.as_bytes()));
/// # Ok(()) }
/// ```
pub struct Frames {
    pub(crate) subscription: Subscription,
    pub(crate) format: Format,
    pub(crate) heartbeat: Heartbeat,
    /// Events that were returned and that `take_events` has not counted.
    events: u32,
    /// Their topics.
    topics: TopicBits,
}

impl Subscription {
    /// The same subscription as the bytes that a client receives.
    pub fn into_frames(self, format: Format) -> Frames {
        Frames {
            subscription: self,
            format,
            heartbeat: Heartbeat::default(),
            events: 0,
            topics: TopicBits::default(),
        }
    }
}

impl Frames {
    /// Sets what is sent after a silence.
    #[must_use]
    pub fn with_heartbeat(mut self, heartbeat: Heartbeat) -> Self {
        self.heartbeat = heartbeat;
        self
    }

    /// What is sent after a silence.
    #[must_use]
    pub fn heartbeat(&self) -> Heartbeat {
        self.heartbeat
    }

    /// What the stream sends before any event: the gap, if there is one, and its position. Empty if
    /// that was sent.
    pub fn opening(&mut self) -> Bytes {
        let Self { subscription, format, .. } = self;
        let frames = std::iter::from_fn(|| {
            subscription.next_opening(Some(*format)).map(|(_, frame)| frame.block())
        });
        let mut frames: SmallVec<[Bytes; 2]> = frames.collect();
        if frames.len() > 1 { frames.concat().into() } else { frames.pop().unwrap_or_default() }
    }

    /// What to send in place of a heartbeat on a stream that was idle: the position, if it has
    /// moved since the client was sent one.
    pub fn instead_of_heartbeat(&mut self) -> Option<Bytes> {
        self.subscription.moved_position(self.format)
    }

    /// What to send on a stream that was idle for the interval of its heartbeat.
    pub fn heartbeat_block(&mut self) -> Bytes {
        // Also for an event, which states the position that this moves to.
        let moved = self.subscription.moved_position(self.format);
        if self.heartbeat.is_event()
            && let Some(position) = self.subscription.resumes_after()
        {
            return self.format.heartbeat(position).block();
        }
        moved.unwrap_or(Bytes::from_static(HEARTBEAT))
    }

    /// The next bytes, as [`poll_next`](Stream::poll_next) returns them, but without reading ahead
    /// in the log. For callers that may not poll again for a long time: the stream would hold a
    /// permit to read the log meanwhile.
    pub fn poll_at_hand(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.poll_joined(cx, ReadLog::NotNow)
    }

    fn poll_joined(&mut self, cx: &mut Context<'_>, read_ahead: ReadLog) -> Poll<Option<Bytes>> {
        let Self { subscription, format, events, topics, .. } = self;
        let Some((delivery, first)) =
            ready!(subscription.poll_item(cx, Some(*format), ReadLog::Allowed))
        else {
            return Poll::Ready(None);
        };
        // Saturates: a caller need not ever ask for the number.
        *events = events.saturating_add(delivery.events());
        topics.add(first.topics());
        let first = first.block();
        // One frame is not copied.
        let mut joined: Option<BytesMut> = None;
        // The last frame may exceed the limit: a frame is never split.
        while joined.as_ref().map_or(first.len(), BytesMut::len) < CHUNK_BYTES {
            let Poll::Ready(Some((delivery, frame))) =
                subscription.poll_item(cx, Some(*format), read_ahead)
            else {
                break;
            };
            *events = events.saturating_add(delivery.events());
            topics.add(frame.topics());
            // The buffer is made for the second frame, so most streams, with one event at a time,
            // copy nothing.
            joined
                .get_or_insert_with(|| BytesMut::from(&first[..]))
                .extend_from_slice(&frame.block());
        }
        Poll::Ready(Some(joined.map_or(first, BytesMut::freeze)))
    }

    /// The number of events in the bytes that were returned since the last call. Positions, gaps
    /// and heartbeats are none.
    pub fn take_events(&mut self) -> u32 {
        std::mem::take(&mut self.events)
    }

    /// The topics of the events in the bytes that were returned since the last call.
    pub(crate) fn take_topics(&mut self) -> TopicBits {
        std::mem::take(&mut self.topics)
    }

    /// Whether there is nothing to send. If so, the waker is called when there is.
    pub fn wait(&mut self, waker: &Waker) -> bool {
        self.subscription.wait(waker)
    }

    /// An end was sent to the client.
    pub(crate) fn may_be_over(&mut self) {
        self.subscription.may_be_over();
    }

    /// Whether the stream ends because the log cannot be read.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.subscription.has_failed()
    }

    /// Whether a stream whose time is over may end here. A gap has to be reported first: a client
    /// that resumes after the position behind it would not receive it any more.
    #[must_use]
    pub fn may_expire(&self) -> bool {
        !self.subscription.has_gap()
    }

    /// What to send when a stream ends because its time is over, as when a token expires.
    #[must_use]
    pub fn expired(&self) -> Bytes {
        self.format.expired(self.subscription.last_sent).block()
    }
}

impl Stream for Frames {
    type Item = Bytes;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.get_mut().poll_joined(cx, ReadLog::Allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hub may have a million streams open, so a byte here is a megabyte there. A change that
    /// needs more raises the bound knowingly.
    #[test]
    fn a_stream_takes_no_more_memory_than_now() {
        assert!(size_of::<Subscription>() <= 160, "{}", size_of::<Subscription>());
        assert!(size_of::<Frames>() <= 176, "{}", size_of::<Frames>());
    }
}
