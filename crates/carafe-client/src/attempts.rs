//! Requests of a publisher that are repeated until their outcome is known.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use tokio::time::{Instant, sleep, timeout};

use crate::backoff::Backoff;
use crate::failed::Failed;
use crate::http::content;
use crate::publisher::Publisher;
use crate::publisher_error::PublisherError;
use crate::redirect::Outgoing;
use crate::token::TokenRequest;

/// The time limit for one attempt. It takes at most half of the time that is left for publishing,
/// because a hub that has not responded may respond to the next one, over another connection. But
/// it has `LAST_ATTEMPT`: an attempt that is cut off leaves its outcome unknown.
const ATTEMPT: Duration = Duration::from_secs(60);
const LAST_ATTEMPT: Duration = Duration::from_secs(1);

/// The wait before the second attempt. A random time is added, of which the maximum doubles with
/// each further one, up to a limit that is short enough to notice soon that a hub is back.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A successful response.
pub(crate) struct Answered {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The waits of a publisher.
pub(crate) fn backoff() -> Backoff {
    Backoff::new(PAUSE).with_longest(LONGEST_PAUSE)
}

impl Publisher {
    /// Sends the request until `read` accepts its response, or until it is refused for good. All
    /// attempts send the same.
    pub(crate) async fn repeat<T>(
        &self,
        request: &Outgoing,
        timeout: Duration,
        read: fn(&Answered) -> Result<T, Failed>,
    ) -> Result<T, PublisherError> {
        let deadline = Deadline(Instant::now().checked_add(timeout));
        let mut backoff = backoff();
        let (mut unknown, mut token) = (false, TokenRequest::default());
        loop {
            let time = if self.retries() { deadline.left() / 2 } else { deadline.left() };
            let time = time.clamp(LAST_ATTEMPT, ATTEMPT);
            let answered = self.attempt(request.clone(), time, token).await;
            let failed = match answered.and_then(|answered| read(&answered)) {
                Ok(result) => return Ok(result),
                Err(failed) => failed,
            };
            // The token may have expired on the way. Nothing was stored.
            if failed.is_unauthorized() && self.may_fetch_again(token) {
                token.refused = true;
                continue;
            }
            unknown |= matches!(failed.error, PublisherError::Unknown(_));
            let Some(pause) = self.pause(&failed, deadline, &mut backoff) else {
                return Err(failed.error.after_unknown(unknown));
            };
            self.tell_retry(&failed.error);
            sleep(pause).await;
        }
    }

    /// The pause before the next attempt, if there is one.
    fn pause(
        &self,
        failed: &Failed,
        deadline: Deadline,
        backoff: &mut Backoff,
    ) -> Option<Duration> {
        let left = deadline.left();
        let may_retry = self.retries() && failed.is_temporary && left > PAUSE;
        (may_retry && failed.retry_after <= left)
            .then(|| backoff.next(failed.retry_after).min(left))
    }

    /// Sends the request once.
    pub(crate) async fn attempt(
        &self,
        mut request: Outgoing,
        time: Duration,
        token: TokenRequest,
    ) -> Result<Answered, Failed> {
        if let Some(token) = self.authorization(time, token).await? {
            request.private.insert(AUTHORIZATION, token);
        }
        let answer = async {
            let response = request.send(self.client()).await;
            answered(response.map_err(|error| Failed::sending(error, self.events_url()))?).await
        };
        timeout(time, answer).await.map_err(Failed::reading)?
    }

    /// The token of a request, if there is one to send.
    pub(crate) async fn authorization(
        &self,
        time: Duration,
        request: TokenRequest,
    ) -> Result<Option<HeaderValue>, Failed> {
        match self.token(request) {
            Some(token) => Ok(Some(timeout(time, token).await??)),
            None => Ok(None),
        }
    }
}

async fn answered(response: Response) -> Result<Answered, Failed> {
    if !response.status().is_success() {
        return Err(Failed::by(response).await);
    }
    let headers = response.headers().clone();
    let body = content(response).await.map_err(Failed::reading)?;
    Ok(Answered { headers, body })
}

/// When publishing times out; `None` for never.
#[derive(Clone, Copy)]
struct Deadline(Option<Instant>);

impl Deadline {
    fn left(self) -> Duration {
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        self.0.map_or(Duration::MAX, left)
    }
}
