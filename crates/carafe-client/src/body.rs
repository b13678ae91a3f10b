//! The body of an open stream.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use carafe_protocol::{Decoder, EventTooLarge, Received};
use futures_core::Stream;
use reqwest::Response;
use tokio::time::{Instant, Sleep, sleep};

use crate::cause::Cause;
use crate::error::Lost;
use crate::state::ResponseHead;

/// The bytes of an open stream, and whether its connection lives.
pub(crate) struct Body {
    bytes: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
    /// What has arrived and is not decoded yet.
    chunk: Bytes,
    silence: Duration,
    /// Elapses when the connection counts as dead.
    dead: Pin<Box<Sleep>>,
    /// The program waits for bytes, so silence counts.
    is_waiting: bool,
    opened: Instant,
}

impl Body {
    pub(crate) fn of(response: Response, silence: Duration) -> (ResponseHead, Self) {
        let head = ResponseHead {
            url: response.url().to_string(),
            status: response.status().as_u16(),
            headers: response.headers().clone(),
        };
        let body = Self {
            bytes: Box::pin(response.bytes_stream()),
            chunk: Bytes::new(),
            silence,
            dead: Box::pin(sleep(silence)),
            is_waiting: true,
            opened: Instant::now(),
        };
        (head, body)
    }

    pub(crate) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// Whether more has to arrive before anything can be decoded.
    pub(crate) fn is_empty(&self) -> bool {
        self.chunk.is_empty()
    }

    /// Waits for bytes. `Err` if the connection is lost.
    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        // Bytes that have arrived in time win over a timer that has elapsed meanwhile. Any byte
        // counts, so a heartbeat keeps a quiet stream alive.
        let Poll::Ready(chunk) = self.bytes.as_mut().poll_next(cx) else {
            // While the program was busy, nothing was read: bytes may wait in the socket.
            if !std::mem::replace(&mut self.is_waiting, true) {
                self.dead.as_mut().reset(Instant::now() + self.silence);
            }
            return self.dead.as_mut().poll(cx).map(|()| Err(Lost::Silence(self.silence)));
        };
        self.is_waiting = false;
        Poll::Ready(match chunk {
            Some(Ok(chunk)) => {
                self.chunk = chunk;
                Ok(())
            }
            Some(Err(error)) => Err(Lost::Broken(Cause::of(error))),
            None => Err(Lost::Closed),
        })
    }

    /// Decodes what has arrived, up to the next item.
    pub(crate) fn decode(
        &mut self,
        decoder: &mut Decoder,
    ) -> Result<Option<Received>, EventTooLarge> {
        let mut input = &self.chunk[..];
        let received = decoder.decode(&mut input);
        // The rest waits until the next poll.
        let decoded = self.chunk.len() - input.len();
        self.chunk.advance(decoded);
        received
    }
}
