//! Reading the body of a request, within its limits.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::request::Parts;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::answer::limit::Limit;
use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::api::options::Options;
use crate::policy::body_budget::{Held, NoRoom};
use crate::policy::publish_rate::Publisher;

/// For how long, in all, a body waits for room among others.
const WAIT: Duration = Duration::from_secs(5);

/// A body that is read. Of what the client sends, only so much is in memory as there is room for.
pub(crate) struct BodyReader<'a> {
    options: &'a Options,
    body: Body,
    most: Most,
    read: usize,
    held: Held,
    patience: Duration,
    deadline: Instant,
}

/// The most that a body may be.
#[derive(Clone, Copy)]
pub(crate) struct Most {
    /// The bytes it may have, and the limit that this is.
    pub(crate) bytes: usize,
    pub(crate) limit: Limit,
    /// How often its text is in memory at once until it is parsed.
    pub(crate) copies: usize,
    /// How many times as much what it says may take.
    pub(crate) grows: usize,
}

impl<'a> BodyReader<'a> {
    /// Waits for room for what the client says it sends. Until then nothing of it is read, and a
    /// client that asks to be told when to begin (`Expect: 100-continue`) is not told.
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
        // Whoever does not say how much it sends may send as much as it may.
        let expected = if declared == 0 { most.bytes } else { declared };
        let held = options
            .body_budget
            .begin(publisher, most.copies.saturating_mul(expected).saturating_mul(most.grows));
        let deadline = Instant::now();
        let mut reader = Self { options, body, most, read: 0, held, patience: WAIT, deadline };
        reader.hold(most.copies * declared.max(1)).await?;
        reader.deadline = Instant::now() + options.body_timeout;
        Ok(reader)
    }

    /// The next bytes, as many as came; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let frame =
                timeout_at(self.deadline, self.body.frame()).await.map_err(|_| too_slow())?;
            let Some(frame) = frame else { return Ok(None) };
            // What is no data are trailers, which say nothing here.
            let Ok(data) = frame.map_err(|_| broken_off())?.into_data() else { continue };
            self.read += data.len();
            if self.read > self.most.bytes {
                return Err(too_large(self.most.bytes).over(self.most.limit));
            }
            return Ok(Some(data));
        }
    }

    /// Makes room for so many bytes in all.
    pub(crate) async fn hold(&mut self, bytes: usize) -> Result<(), Problem> {
        let grown = self.held.grow_to(bytes, &mut self.patience).await;
        grown.map_err(|why| no_room(why, self.options.body_budget.largest_body()))
    }

    /// The room that what was read of it takes, for as long as it is needed.
    pub(crate) fn into_held(self) -> Held {
        self.held
    }

    /// The whole of it as text, in one buffer.
    pub(crate) async fn text(mut self) -> Result<(String, Held), Problem> {
        let mut bytes = Vec::with_capacity(declared(&self.body));
        while let Some(data) = self.next().await? {
            self.make_room(&mut bytes, data.len()).await?;
            bytes.extend_from_slice(&data);
        }
        bytes.shrink_to_fit();
        Ok((String::from_utf8(bytes).map_err(|_| bad_utf_8())?, self.held))
    }

    /// Doubles what is full, up to the most that there may be.
    async fn make_room(&mut self, bytes: &mut Vec<u8>, more: usize) -> Result<(), Problem> {
        let needed = bytes.len() + more;
        if needed > bytes.capacity() {
            let capacity = needed.max((2 * bytes.capacity()).min(self.most.bytes));
            self.hold(self.most.copies * capacity).await?;
            bytes.reserve_exact(capacity - bytes.len());
        }
        Ok(())
    }
}

/// The bytes that the client says it sends; none if it does not say.
fn declared(body: &Body) -> usize {
    usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX)
}

/// A few compressed bytes can become very many.
fn refuse_encoded(parts: &Parts) -> Result<(), Problem> {
    let mut encodings = parts.headers.get_all(CONTENT_ENCODING).iter();
    if encodings.all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Ok(());
    }
    let detail = "the body is compressed: send it as it is, without Content-Encoding";
    Err(Problem::of(ProblemKind::ContentEncoding, detail)
        .with_header("accept-encoding", "identity"))
}

fn no_room(why: NoRoom, largest: usize) -> Problem {
    let problem = match why {
        NoRoom::Ever => too_large_for_memory(largest),
        NoRoom::OfClient => Problem::try_again(
            "other requests of this client hold the memory that its bodies may take: send fewer at once, and this one again in a moment",
        ),
        NoRoom::AtAll => Problem::try_again(
            "the bodies of other requests hold the memory that there is for them: send this one again in a moment",
        ),
    };
    problem.over(Limit::BodyBytesInFlight)
}

fn too_large_for_memory(largest: usize) -> Problem {
    let detail = format!(
        "the body takes more than the {largest} bytes of memory that a client's bodies may take: publish smaller batches"
    );
    Problem::of(ProblemKind::TooLarge, detail)
}

pub(crate) fn too_large(limit: usize) -> Problem {
    let detail = format!("more than the {limit} bytes allowed: publish less at once");
    Problem::of(ProblemKind::TooLarge, detail)
}

fn too_slow() -> Problem {
    let detail = "the body did not arrive in time: send it at once";
    Problem::of(ProblemKind::BodyTimeout, detail).over(Limit::BodyTimeout)
}

fn broken_off() -> Problem {
    let detail = "the body broke off: send it again, and whole";
    Problem::of(ProblemKind::BodyBroken, detail)
}

pub(crate) fn bad_utf_8() -> Problem {
    let detail =
        "the data is not UTF-8, which an event stream carries: encode it, for example as base64";
    Problem::of(ProblemKind::BadUtf8, detail)
}
