//! A subscription as the body of an answer.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use carafe_hub::Frames;
use carafe_protocol::HEARTBEAT;
use futures_core::Stream;
use http_body::Frame;

use crate::Options;
use crate::heartbeat::Heartbeat;
use crate::metrics::End;
use crate::stream::OpenStream;

/// The subscription's frames, with the time to wait before reconnecting in the first, and a sign of life when they are rare.
pub(crate) struct HubBody {
    retry: Option<Bytes>,
    frames: Option<Frames>,
    heartbeat: Heartbeat,
    open: Option<OpenStream>,
}

impl HubBody {
    pub(crate) fn new(frames: Frames, options: &Options, open: OpenStream) -> Self {
        Self {
            retry: Some(retry_line(options.retry)),
            frames: Some(frames),
            heartbeat: Heartbeat::every(Some(options.heartbeat)),
            open: Some(open),
        }
    }

    /// Says to come back after about this time, and ends.
    pub(crate) fn come_back(retry: Duration) -> Self {
        let block = [retry_line(retry), Bytes::from_static(b"\n")].concat();
        Self { retry: Some(block.into()), frames: None, heartbeat: Heartbeat::every(None), open: None }
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(retry) = self.retry.take() {
            return Poll::Ready(Some(retry));
        }
        let Some(frames) = &mut self.frames else { return Poll::Ready(None) };
        if let Poll::Ready(chunk) = Pin::new(&mut *frames).poll_next(cx) {
            self.heartbeat.reset();
            if chunk.is_none() {
                let end = if frames.has_failed() { End::Failed } else { End::Ended };
                self.open.take().into_iter().for_each(|open| open.end(end));
            }
            return Poll::Ready(chunk);
        }
        // The position takes the heartbeat's place if it has moved: a quiet stream resumes exactly, too.
        let heartbeat = self.heartbeat.poll(cx);
        heartbeat.map(|()| Some(frames.position_if_moved().unwrap_or(Bytes::from_static(HEARTBEAT))))
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

/// The time to wait, give or take a quarter. Only the line: what follows makes it a part of the stream's first event, since
/// a block of its own would have no ID, and clients that take the ID of each block would forget theirs.
fn retry_line(time: Duration) -> Bytes {
    let time = time.mul_f64(rand::random_range(0.75..=1.25));
    format!("retry: {}\n", time.as_millis()).into()
}
