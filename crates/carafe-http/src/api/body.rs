//! Reads the body of a request within its limits: bytes, memory and time.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::answer::limit::Limit;
use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::api::options::Options;
use crate::policy::body_budget::{Held, NoRoom};
use crate::policy::publish_rate::Publisher;

/// How long, in all, a body may wait for memory.
pub(crate) const WAIT: Duration = Duration::from_secs(5);

/// Whether the content type is this, whatever its parameters are.
pub(crate) fn is_of_type(headers: &HeaderMap, content_type: &str) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(content_type)
}

/// A body that is being read. Memory is reserved before bytes are kept.
pub(crate) struct BodyReader<'a> {
    options: &'a Options,
    body: Body,
    most: Most,
    read: usize,
    held: Held,
    patience: Duration,
    deadline: Instant,
}

/// The limits of a body.
#[derive(Clone, Copy)]
pub(crate) struct Most {
    /// The most bytes, and the limit that they are.
    pub(crate) bytes: usize,
    pub(crate) limit: Limit,
    /// How often the text is in memory at once until it is parsed.
    pub(crate) copies: usize,
    /// The most memory that the content takes, as a multiple of the text.
    pub(crate) grows: usize,
}

impl<'a> BodyReader<'a> {
    /// Reserves memory for the declared length. Until then nothing is read, and a client that
    /// sent `Expect: 100-continue` is not told to go on.
    pub(crate) async fn begin(
        options: &'a Options,
        publisher: Option<Publisher>,
        parts: &Parts,
        body: Body,
        most: Most,
    ) -> Result<Self, Problem> {
        refuse_encoded(parts)?;
        let declared = declared(&body);
        if declared > most.bytes {
            return Err(too_large(most.bytes).over(most.limit));
        }
        // A body without a declared length may have any length within the limit.
        let expected = if declared == 0 { most.bytes } else { declared };
        let held = options
            .body_budget
            .begin(publisher, most.copies.saturating_mul(expected).saturating_mul(most.grows));
        let deadline = Instant::now();
        let mut reader = Self { options, body, most, read: 0, held, patience: WAIT, deadline };
        reader.hold(most.copies * declared.max(1)).await?;
        // The time for the body begins when it may be sent: waiting for memory is the hub's delay,
        // not the client's.
        reader.deadline = Instant::now() + options.body_timeout;
        Ok(reader)
    }

    /// The next bytes as they come; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let frame =
                timeout_at(self.deadline, self.body.frame()).await.map_err(|_| too_slow())?;
            let Some(frame) = frame else { return Ok(None) };
            // Other frames are trailers, which mean nothing here.
            let Ok(data) = frame.map_err(|_| broken_off())?.into_data() else { continue };
            self.read += data.len();
            // Checked as the bytes arrive, because a chunked body declares no length, and a client
            // may send more than it declared.
            if self.read > self.most.bytes {
                return Err(too_large(self.most.bytes).over(self.most.limit));
            }
            return Ok(Some(data));
        }
    }

    /// Reserves so many bytes in all.
    pub(crate) async fn hold(&mut self, bytes: usize) -> Result<(), Problem> {
        let grown = self.held.grow_to(bytes, &mut self.patience).await;
        grown.map_err(|why| no_room(why, self.options.body_budget.largest_body()))
    }

    /// The reservation, to be kept as long as the content is in memory.
    pub(crate) fn into_held(self) -> Held {
        self.held
    }

    /// Reads the whole body as text.
    pub(crate) async fn text(mut self) -> Result<(String, Held), Problem> {
        let mut bytes = Vec::with_capacity(declared(&self.body));
        while let Some(data) = self.next().await? {
            self.make_room(&mut bytes, data.len()).await?;
            bytes.extend_from_slice(&data);
        }
        // What is kept may be much less than the buffer, and is counted by its capacity.
        bytes.shrink_to_fit();
        Ok((String::from_utf8(bytes).map_err(|_| bad_utf_8())?, self.held))
    }

    /// Doubles a full buffer, up to the limit of the body.
    async fn make_room(&mut self, bytes: &mut Vec<u8>, more: usize) -> Result<(), Problem> {
        let needed = bytes.len() + more;
        if needed > bytes.capacity() {
            let capacity = needed.max((2 * bytes.capacity()).min(self.most.bytes));
            self.hold(self.most.copies * capacity).await?;
            // Exactly what was reserved: `reserve` would round up beyond the budget.
            bytes.reserve_exact(capacity - bytes.len());
        }
        Ok(())
    }
}

/// The declared length; 0 if there is none.
fn declared(body: &Body) -> usize {
    usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX)
}

/// Rejects compressed bodies: a few bytes could become very many.
pub(crate) fn refuse_encoded(parts: &Parts) -> Result<(), Problem> {
    let mut encodings = parts.headers.get_all(CONTENT_ENCODING).iter();
    if encodings.all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Ok(());
    }
    let detail = "the body is compressed: send it as it is, without Content-Encoding";
    Err(Problem::of(ProblemKind::ContentEncoding, detail)
        .with_header("accept-encoding", "identity"))
}

pub(crate) fn no_room(why: NoRoom, largest: usize) -> Problem {
    let problem = match why {
        NoRoom::Ever => too_large_for_memory(largest),
        NoRoom::OfClient => Problem::try_again(
            "other requests of this client use all memory that its bodies may take: send fewer at \
             once, and this one again in a moment",
        ),
        NoRoom::AtAll => Problem::try_again(
            "the bodies of other requests use all memory for bodies: send this one again in a \
             moment",
        ),
    };
    problem.over(Limit::BodyBytesInFlight)
}

fn too_large_for_memory(largest: usize) -> Problem {
    let detail = format!(
        "the body takes more than the {largest} bytes of memory that a client's bodies may take: \
         publish smaller batches"
    );
    Problem::of(ProblemKind::TooLarge, detail)
}

pub(crate) fn too_large(limit: usize) -> Problem {
    let detail = format!("more than the {limit} bytes allowed: publish less at once");
    Problem::of(ProblemKind::TooLarge, detail)
}

fn too_slow() -> Problem {
    let detail = "the body did not arrive in time: send it without pauses";
    Problem::of(ProblemKind::BodyTimeout, detail).over(Limit::BodyTimeout)
}

pub(crate) fn broken_off() -> Problem {
    let detail = "the body is incomplete: send it again";
    Problem::of(ProblemKind::BodyBroken, detail)
}

pub(crate) fn bad_utf_8() -> Problem {
    let detail = "the data is not UTF-8, and an event stream carries nothing else: encode it, for \
                  example as base64";
    Problem::of(ProblemKind::BadUtf8, detail)
}
