//! A body that may stay open for ever: its client must only not fall silent.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::answer::limit::Limit;
use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::api::body::broken_off;

/// An unfinished event of at most so many bytes may stay so for as long as the client sends
/// anything. It takes no more memory than an open request does.
const SMALL: usize = 1 << 10;

/// A body, and how long its client may take.
pub(crate) struct OpenBody {
    body: Body,
    /// How long the client may be silent, and how long a large event may take to arrive.
    timeout: Duration,
    /// When the client sent something, or the hub was ready to read again.
    heard: Instant,
    /// When the unfinished event became large.
    large: Option<Instant>,
}

impl OpenBody {
    pub(crate) fn new(body: Body, timeout: Duration) -> Self {
        Self { body, timeout, heard: Instant::now(), large: None }
    }

    /// The next bytes as they come; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let deadline = self.deadline();
            let frame =
                timeout_at(deadline, self.body.frame()).await.map_err(|_| self.too_late())?;
            let Some(frame) = frame else { return Ok(None) };
            // Other frames are trailers, which mean nothing here. An empty one is no sign of life.
            match frame.map_err(|_| broken_off())?.into_data() {
                Ok(data) if !data.is_empty() => {
                    self.heard = Instant::now();
                    return Ok(Some(data));
                }
                _ => {}
            }
        }
    }

    /// The client's time begins anew: until now, the hub did not read.
    pub(crate) fn is_read_again(&mut self) {
        self.heard = Instant::now();
        self.large = self.large.map(|_| self.heard);
    }

    /// Tells how many bytes of an unfinished event there are, and whether it is another one than
    /// before.
    pub(crate) fn unfinished(&mut self, bytes: usize, is_another: bool) {
        let since = self.large.filter(|_| !is_another).unwrap_or(self.heard);
        self.large = (bytes > SMALL).then_some(since);
    }

    fn deadline(&self) -> Instant {
        let since = self.large.map_or(self.heard, |large| large.min(self.heard));
        // A timeout that never comes is as good as the longest.
        since.checked_add(self.timeout).unwrap_or_else(|| since + Duration::from_secs(1 << 30))
    }

    fn too_late(&self) -> Problem {
        let detail = match self.large {
            Some(large) if large < self.heard => "an event did not arrive in time: send it at once",
            _ => {
                "the client sent nothing for too long: while there is no event, send a comment \
                 (`:` and a line break) in an event stream, or an empty line in NDJSON, now and \
                 then"
            }
        };
        Problem::of(ProblemKind::BodyTimeout, detail).over(Limit::BodyTimeout)
    }
}
