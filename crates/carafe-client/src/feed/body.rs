//! The open body of a request that feeds a topic.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use tokio::time::{Instant, Sleep, sleep};

use crate::feed::shared::{Shared, Wanted};

/// The time without an event after which an empty line is sent: a hub limits the silence of its
/// clients, and so do proxies.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Reads the backlog.
pub(crate) struct FeedBody {
    shared: Arc<Shared>,
    request: u64,
    keep_alive: Pin<Box<Sleep>>,
}

impl FeedBody {
    /// The body of the request with this number.
    pub(crate) fn new(shared: Arc<Shared>, request: u64) -> Self {
        Self { shared, request, keep_alive: Box::pin(sleep(KEEP_ALIVE)) }
    }
}

impl Stream for FeedBody {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let mut state = this.shared.lock();
        if state.request != this.request {
            return Poll::Ready(Some(Err(io::Error::other("another request has followed"))));
        }
        if state.ends_request || (state.wanted != Wanted::Sending && !state.backlog.has_unsent()) {
            return Poll::Ready(None);
        }
        if let Some(chunk) = state.backlog.next_chunk() {
            let needs_check = state.backlog.needs_check();
            drop(state);
            this.keep_alive.as_mut().reset(Instant::now() + KEEP_ALIVE);
            if needs_check {
                this.shared.wake_feeder();
            }
            return Poll::Ready(Some(Ok(chunk)));
        }
        state.body = Some(cx.waker().clone());
        drop(state);
        if this.keep_alive.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        this.keep_alive.as_mut().reset(Instant::now() + KEEP_ALIVE);
        Poll::Ready(Some(Ok(Bytes::from_static(b"\n"))))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;
    use crate::feed::event::FeedEvent;
    use crate::feed::shared::State;

    fn body() -> (Arc<Shared>, FeedBody) {
        let shared = Arc::new(Shared::new(1000));
        let number = shared.change(State::begin_request);
        (Arc::clone(&shared), FeedBody::new(shared, number))
    }

    async fn next(body: &mut FeedBody) -> Option<String> {
        Some(String::from_utf8(body.next().await?.unwrap().to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_broken_by_empty_lines() {
        let (shared, mut body) = body();
        let begun = Instant::now();
        for lines in 1..=3 {
            assert_eq!(next(&mut body).await.unwrap(), "\n");
            assert!(begun.elapsed() >= lines * KEEP_ALIVE);
        }
        tokio::time::advance(KEEP_ALIVE / 2).await;
        shared.push(FeedEvent::new("x").with_key("k"));
        assert_eq!(next(&mut body).await.unwrap(), "{\"id\":\"k\",\"data\":\"x\"}\n");
        let sent = Instant::now();
        assert_eq!(next(&mut body).await.unwrap(), "\n");
        assert!(sent.elapsed() >= KEEP_ALIVE, "an event is no silence");
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_behind_what_was_sent() {
        let (shared, mut body) = body();
        shared.push("a".into());
        shared.want(Wanted::Finish);
        assert!(next(&mut body).await.is_some());
        assert!(next(&mut body).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_body_of_an_earlier_request_takes_no_events() {
        let (shared, mut old) = body();
        shared.push("a".into());
        let number = shared.change(State::begin_request);
        assert!(old.next().await.unwrap().is_err());
        assert!(next(&mut FeedBody::new(shared, number)).await.is_some());
    }
}
