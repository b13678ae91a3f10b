//! An answer that hyper does not write: it is polled and encoded here, as hyper does it.

use std::convert::Infallible;
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::response::Parts;
use http::{HeaderName, Response};
use http_body::Body;

use crate::server::placeholder::Date;
use crate::server::stall::WatchedBody;

pub(crate) type Answer = Result<Response<WatchedBody>, Infallible>;

pub(crate) type BoxedAnswer = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// The answer cannot be completed, so that the connection cannot go on.
#[derive(Debug)]
pub(crate) struct Broken;

pub(crate) struct DeferredAnswer {
    state: State,
    /// Known once hyper has written the placeholder.
    date: Option<Date>,
}

enum State {
    Coming(BoxedAnswer),
    Body(Box<Parts>, WatchedBody, Vec<u8>),
}

impl DeferredAnswer {
    pub(crate) fn new(answer: BoxedAnswer) -> Self {
        Self { state: State::Coming(answer), date: None }
    }

    pub(crate) fn set_date(&mut self, date: Date) {
        self.date = Some(date);
    }

    /// Appends the whole answer once it is there.
    pub(crate) fn poll_into(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Poll<Result<(), Broken>> {
        // Its placeholder is next; hyper writes it before it waits for anything.
        let Some(date) = self.date else { return Poll::Pending };
        loop {
            match &mut self.state {
                State::Coming(answer) => {
                    let Ok(answer) = ready!(answer.as_mut().poll(cx));
                    let (head, body) = answer.into_parts();
                    self.state = State::Body(Box::new(head), body, Vec::new());
                }
                State::Body(head, body, content) => {
                    match ready!(Pin::new(body).poll_frame(cx)).transpose() {
                        Ok(Some(frame)) => {
                            frame.data_ref().into_iter().for_each(|data| content.extend(data));
                        }
                        Ok(None) => {
                            encode(head, &date, content, out);
                            return Poll::Ready(Ok(()));
                        }
                        Err(_) => return Poll::Ready(Err(Broken)),
                    }
                }
            }
        }
    }
}

/// Appends a response with a length.
fn encode(head: &Parts, date: &Date, content: &[u8], out: &mut Vec<u8>) {
    let reason = head.status.canonical_reason().unwrap_or("<none>");
    // The connection goes on, whatever a layer of the app says.
    let is_own =
        |name: &&HeaderName| ![CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name);
    let mut line = |parts: [&[u8]; 4]| parts.iter().for_each(|part| out.extend_from_slice(part));
    line([b"HTTP/1.1 ", head.status.as_str().as_bytes(), b" ", reason.as_bytes()]);
    for (name, value) in head.headers.iter().filter(|(name, _)| is_own(name)) {
        line([b"\r\n", name.as_str().as_bytes(), b": ", value.as_bytes()]);
    }
    if !head.headers.contains_key(DATE) {
        line([b"\r\n", b"date", b": ", date]);
    }
    write!(out, "\r\ncontent-length: {}\r\n\r\n", content.len()).expect("memory takes all");
    out.extend_from_slice(content);
}
