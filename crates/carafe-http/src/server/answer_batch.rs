//! Joins the answers to requests that a client has sent together (pipelining, RFC 9112, 9.3.2).
//!
//! hyper flushes after each answer. If the client has sent the next request already, its answer
//! follows at once, and one system call can take both. An answer is held until hyper flushes once
//! more, for which its task is woken at once, or until its connection is dropped.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use memchr::memmem;
use tokio::io::AsyncWrite;

/// The most bytes that are held.
const HELD: usize = 8 << 10;

/// The answers of a connection that are not written to its socket yet.
#[derive(Default)]
pub(crate) struct AnswerBatch {
    /// Requests among the bytes that were read last, without an answer. An estimate: a body may
    /// look like a request.
    unanswered: usize,
    held: Vec<u8>,
    /// Something was held since the last flush.
    is_new: bool,
}

impl AnswerBatch {
    /// The client has sent these bytes.
    pub(crate) fn received(&mut self, bytes: &[u8]) {
        self.unanswered = memmem::find_iter(bytes, b"\r\n\r\n").count();
    }

    /// Whether answers have to be written.
    pub(crate) fn are_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Holds an answer, if others follow or precede it. Returns its length, or `None` if it has to
    /// be written.
    pub(crate) fn hold<'a>(
        &mut self,
        parts: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Option<usize> {
        self.unanswered = self.unanswered.saturating_sub(1);
        let length = parts.clone().map(<[u8]>::len).sum();
        let is_alone = self.unanswered == 0 && self.held.is_empty();
        if is_alone || self.held.len() + length > HELD {
            return None;
        }
        parts.for_each(|part| self.held.extend_from_slice(part));
        self.is_new = true;
        Some(length)
    }

    /// Writes what is held, unless more answers are about to follow. Then the task is woken once:
    /// if they do not, hyper flushes again, and nothing is held any more.
    pub(crate) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        socket: Pin<&mut impl AsyncWrite>,
    ) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.is_new) && self.unanswered > 0 {
            cx.waker().wake_by_ref();
            return Poll::Ready(Ok(()));
        }
        self.poll_write(cx, socket)
    }

    /// Writes what is held.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        mut socket: Pin<&mut impl AsyncWrite>,
    ) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            match ready!(socket.as_mut().poll_write(cx, &self.held))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => drop(self.held.drain(..written)),
            }
        }
        // An idle connection has no buffer.
        self.held = Vec::new();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Records each write.
    #[derive(Default)]
    struct Socket(Vec<String>);

    impl AsyncWrite for Socket {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.push(str::from_utf8(bytes).unwrap().to_owned());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Writes and flushes the answers as hyper does, and flushes once more, as it does when it is
    /// polled again. Returns what is written to the socket.
    fn written(requests: &str, answers: &[&str]) -> Vec<String> {
        let (mut batch, mut socket) = (AnswerBatch::default(), Socket::default());
        let mut cx = Context::from_waker(Waker::noop());
        batch.received(requests.as_bytes());
        for answer in answers {
            if batch.hold(std::iter::once(answer.as_bytes())).is_none() {
                assert!(batch.poll_write(&mut cx, Pin::new(&mut socket)).is_ready());
                socket.0.push((*answer).to_owned());
            }
            assert!(batch.poll_flush(&mut cx, Pin::new(&mut socket)).is_ready());
        }
        assert!(batch.poll_flush(&mut cx, Pin::new(&mut socket)).is_ready());
        socket.0
    }

    #[test]
    fn answers_to_requests_that_came_together_share_a_write() {
        assert_eq!(written("1\r\n\r\n", &["one"]), ["one"]);
        assert_eq!(
            written("1\r\n\r\n2\r\n\r\n3\r\n\r\n4", &["one", "two", "three"]),
            ["onetwothree"]
        );
    }

    #[test]
    fn an_answer_whose_successors_do_not_come_at_once_is_written_by_the_next_flush() {
        assert_eq!(written("1\r\n\r\nlooks like a second\r\n\r\n", &["one"]), ["one"]);
        assert_eq!(written("1\r\n\r\n2\r\n\r\n3\r\n\r\n", &["one", "two"]), ["onetwo"]);
    }

    #[test]
    fn a_large_answer_is_written_after_those_before_it() {
        let large = "x".repeat(HELD);
        assert_eq!(written("1\r\n\r\n2\r\n\r\n", &["one", &large]), ["one", &large]);
    }
}
