//! Joins the answers to requests that a client has sent together (pipelining, RFC 9112, 9.3.2).
//!
//! hyper flushes after each answer. If the client has sent the next request already, its answer
//! follows at once, and one system call can take both. An answer is held until hyper flushes once
//! more, for which its task is woken at once, or until its connection is dropped.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// The most bytes that are held.
const HELD: usize = 8 << 10;

/// The answers of a connection that are not written to its socket yet.
#[derive(Default)]
pub(crate) struct AnswerBatch {
    held: Vec<u8>,
    /// Something was held since the last flush.
    is_new: bool,
}

impl AnswerBatch {
    /// Adds whole answers, which the next flush writes.
    pub(crate) fn add(&mut self, answers: Vec<u8>) {
        if self.held.is_empty() {
            self.held = answers;
        } else {
            self.held.extend_from_slice(&answers);
        }
    }

    /// Whether answers have to be written.
    pub(crate) fn are_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Holds an answer, if others precede it or are about to follow. Returns its length, or `None`
    /// if it has to be written.
    pub(crate) fn hold<'a>(
        &mut self,
        parts: impl Iterator<Item = &'a [u8]> + Clone,
        others_follow: bool,
    ) -> Option<usize> {
        let length = parts.clone().map(<[u8]>::len).sum();
        let is_alone = !others_follow && self.held.is_empty();
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
        others_follow: bool,
    ) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.is_new) && others_follow {
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
    /// polled again. Of the requests, `ahead` follow the first answer. Returns what is written to
    /// the socket.
    fn written(ahead: usize, answers: &[&str]) -> Vec<String> {
        let (mut batch, mut socket) = (AnswerBatch::default(), Socket::default());
        let mut cx = Context::from_waker(Waker::noop());
        for (index, answer) in answers.iter().enumerate() {
            let follow = index < ahead;
            if batch.hold(std::iter::once(answer.as_bytes()), follow).is_none() {
                assert!(batch.poll_write(&mut cx, Pin::new(&mut socket)).is_ready());
                socket.0.push((*answer).to_owned());
            }
            assert!(batch.poll_flush(&mut cx, Pin::new(&mut socket), follow).is_ready());
        }
        let follow = answers.len() <= ahead;
        assert!(batch.poll_flush(&mut cx, Pin::new(&mut socket), follow).is_ready());
        socket.0
    }

    #[test]
    fn answers_to_requests_that_came_together_share_a_write() {
        assert_eq!(written(0, &["one"]), ["one"]);
        assert_eq!(written(2, &["one", "two", "three"]), ["onetwothree"]);
    }

    #[test]
    fn an_answer_whose_successors_do_not_come_at_once_is_written_by_the_next_flush() {
        assert_eq!(written(1, &["one"]), ["one"]);
        assert_eq!(written(2, &["one", "two"]), ["onetwo"]);
    }

    #[test]
    fn a_large_answer_is_written_after_those_before_it() {
        let large = "x".repeat(HELD);
        assert_eq!(written(1, &["one", &large]), ["one", &large]);
    }

    #[test]
    fn answers_that_were_added_are_written_with_the_one_that_follows_them() {
        let (mut batch, mut socket) = (AnswerBatch::default(), Socket::default());
        let mut cx = Context::from_waker(Waker::noop());
        batch.add(b"one".to_vec());
        batch.add(b"two".to_vec());
        assert_eq!(batch.hold(std::iter::once(&b"three"[..]), false), Some(5));
        assert!(batch.poll_flush(&mut cx, Pin::new(&mut socket), false).is_ready());
        assert_eq!(socket.0, ["onetwothree"]);
    }
}
