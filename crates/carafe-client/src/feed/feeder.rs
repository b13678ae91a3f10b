//! The task of a feed: it has one request open, and asks the hub what is stored.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use reqwest::{Method, Response};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::attempts::backoff;
use crate::backoff::Backoff;
use crate::failed::Failed;
use crate::feed::backlog::Newest;
use crate::feed::body::FeedBody;
use crate::feed::report::Report;
use crate::feed::request::{ASK, refusal, send};
use crate::feed::shared::{Shared, State, Wanted};
use crate::feed::task::Task;
use crate::http::{content, retry_after};
use crate::publisher::Publisher;
use crate::publisher_error::PublisherError;
use crate::redirect::Outgoing;
use crate::token::TokenRequest;
use crate::topic::TopicState;

/// How often the hub is asked, while something is sent that is not known to be stored: a peer that
/// is silently gone accepts events for minutes.
const CHECK: Duration = Duration::from_secs(15);

/// The same while the program waits for room.
const CHECK_WHEN_FULL: Duration = Duration::from_millis(200);

/// The time without progress after which the request counts as dead. A hub stores an event within
/// its `--body-timeout`, 30 s.
const STALLED: Duration = Duration::from_secs(60);

/// The most events of a batch.
const BATCH: usize = 500;

pub(crate) struct Feeder {
    publisher: Publisher,
    topic: String,
    shared: Arc<Shared>,
    backoff: Backoff,
    token: TokenRequest,
    /// Since when the hub is known to have stored nothing of what it was sent.
    stalled_since: Option<Instant>,
    failing_since: Option<Instant>,
}

/// What an open request waits for.
enum Woken {
    Answered(Result<Response, Failed>),
    Work,
    Time,
}

impl Feeder {
    pub(crate) fn new(publisher: Publisher, topic: String, shared: Arc<Shared>) -> Self {
        Self {
            publisher,
            topic,
            shared,
            backoff: backoff(),
            token: TokenRequest::default(),
            stalled_since: None,
            failing_since: None,
        }
    }

    /// Sends until the feed is finished, or has failed.
    pub(crate) async fn run(mut self) {
        let task = Task::begun(&self.shared);
        task.ended(self.feed().await);
    }

    async fn feed(&mut self) -> Result<(), PublisherError> {
        while self.wait_for_events().await {
            let ended = self.request().await;
            self.shared.change(|state| state.is_open = false);
            if let Err(failed) = ended {
                self.pause(failed).await?;
            }
        }
        Ok(())
    }

    /// Waits for something to send. `false` if nothing follows.
    async fn wait_for_events(&self) -> bool {
        loop {
            let wanted = {
                let state = self.shared.lock();
                if !state.backlog.is_empty() {
                    return true;
                }
                state.wanted
            };
            match wanted {
                Wanted::Finish => return false,
                // All is stored.
                Wanted::Flush => self.shared.change(|state| state.wanted = Wanted::Sending),
                Wanted::Sending => self.shared.work().await,
            }
        }
    }

    /// Sends what is kept, and what follows, until the request ends.
    async fn request(&mut self) -> Result<(), Failed> {
        // What an earlier request has not stored says nothing of this one.
        self.stalled_since = None;
        // The hub may have some of what is kept.
        if self.shared.lock().request > 0 {
            self.check().await?;
            if self.shared.lock().backlog.is_empty() {
                return Ok(());
            }
        }
        let number = self.shared.change(State::begin_request);
        let body = FeedBody::new(Arc::clone(&self.shared), number);
        let sent = send(self.publisher.clone(), self.topic.clone(), self.token, body);
        let mut response = pin!(sent);
        let mut next_check = Instant::now() + CHECK;
        loop {
            match self.wait(response.as_mut(), next_check).await {
                Woken::Answered(response) => return self.answered(response?).await,
                Woken::Work if !self.needs_check() => {
                    next_check = next_check.min(self.next_check());
                }
                // Only the response is missing. Its server may be gone.
                Woken::Time if self.is_complete() => return Ok(()),
                Woken::Work | Woken::Time => {
                    self.check_if_sent().await?;
                    next_check = self.next_check();
                }
            }
        }
    }

    /// Whether all is stored, and no event follows in this request.
    fn is_complete(&self) -> bool {
        let state = self.shared.lock();
        state.backlog.is_empty() && state.wanted != Wanted::Sending
    }

    fn needs_check(&self) -> bool {
        self.shared.lock().backlog.needs_check()
    }

    fn next_check(&self) -> Instant {
        let has_room = self.shared.lock().backlog.has_room();
        Instant::now() + if has_room { CHECK } else { CHECK_WHEN_FULL }
    }

    async fn check_if_sent(&mut self) -> Result<(), Failed> {
        let has_sent = self.shared.lock().backlog.has_sent();
        if has_sent { self.check().await } else { Ok(()) }
    }

    async fn wait(
        &self,
        mut response: Pin<&mut impl Future<Output = Result<Response, Failed>>>,
        next_check: Instant,
    ) -> Woken {
        let (mut work, mut time) = (pin!(self.shared.work()), pin!(sleep_until(next_check)));
        poll_fn(|cx| {
            if let Poll::Ready(response) = response.as_mut().poll(cx) {
                return Poll::Ready(Woken::Answered(response));
            }
            if work.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Woken::Work);
            }
            time.as_mut().poll(cx).map(|()| Woken::Time)
        })
        .await
    }

    /// Asks the hub for the newest event of the topic, and drops what is stored.
    async fn check(&mut self) -> Result<(), Failed> {
        let url = self.publisher.topic_url(&self.topic)?;
        let request = Outgoing::to(Method::HEAD, url);
        let answered = self.publisher.attempt(request, ASK, self.token).await?;
        let TopicState { last_key, last_position, .. } = TopicState::of(&answered.headers);
        let newest = self.shared.change(|state| {
            state.backlog.checked();
            let newest = state.backlog.release_to(last_key.as_deref());
            match newest {
                Newest::Stored => state.position = last_position,
                Newest::Known => {}
                // Only the response to the request tells what it has stored.
                Newest::Foreign => state.ends_request = true,
            }
            newest
        });
        if newest == Newest::Stored {
            self.has_progress();
            return Ok(());
        }
        if self.stalled_since.get_or_insert_with(Instant::now).elapsed() < STALLED {
            return Ok(());
        }
        let text = format!("the hub has stored nothing for {} s", STALLED.as_secs());
        Err(PublisherError::Unknown(text.into()).into())
    }

    /// The request has ended.
    async fn answered(&mut self, response: Response) -> Result<(), Failed> {
        let (status, after) = (response.status(), retry_after(response.headers()));
        let words = refusal(&response);
        let body = timeout(ASK, content(response)).await.map_err(Failed::reading)?;
        let report = Report::of(&body.map_err(Failed::reading)?);
        let Report { stop, last, detail, .. } = &report;
        self.shared.change(|state| {
            state.backlog.release_of_request(report.events());
            state.position = last.clone().or(state.position.take());
            state.stop = stop.clone().or(state.stop.take());
        });
        let has_progress = report.events() > 0;
        if has_progress {
            self.has_progress();
        }
        if !status.is_success() {
            return Err(Failed::by_status(status, after, detail.clone().unwrap_or(words)));
        }
        if self.shared.lock().stop.is_some() {
            return self.store_the_rest().await;
        }
        if !has_progress {
            let text = "the response does not say what is stored: check the URL of the hub";
            return Err(PublisherError::Unknown(String::from(text).into()).into());
        }
        Ok(())
    }

    /// After a request to stop, the hub ends every request that feeds the topic at once. Batches
    /// are stored nevertheless.
    async fn store_the_rest(&mut self) -> Result<(), Failed> {
        let mut size = BATCH;
        loop {
            let batch = self.shared.lock().backlog.first(size, &self.topic);
            if batch.is_empty() {
                return Ok(());
            }
            match self.publisher.publish_all(&batch).await {
                Ok(ids) => self.shared.change(|state| {
                    state.backlog.release(batch.len());
                    state.position = ids.into_iter().next_back();
                }),
                // The hub may take smaller batches.
                Err(PublisherError::Refused { status: 413, .. }) if batch.len() > 1 => {
                    size = batch.len().div_ceil(2);
                }
                // It was repeated.
                Err(error) => {
                    return Err(Failed { is_temporary: false, ..Failed::from(error) });
                }
            }
        }
    }

    fn has_progress(&mut self) {
        (self.stalled_since, self.failing_since) = (None, None);
        self.token = TokenRequest::default();
        self.backoff.succeeded();
    }

    /// Waits before the next request; `Err` if there is none.
    async fn pause(&mut self, failed: Failed) -> Result<(), PublisherError> {
        if failed.is_unauthorized() && self.publisher.may_fetch_again(self.token) {
            self.token.refused = true;
            return Ok(());
        }
        // Whatever follows has a request of its own.
        if self.shared.lock().backlog.is_empty() {
            return Ok(());
        }
        let failing = self.failing_since.get_or_insert_with(Instant::now).elapsed();
        let left = self.publisher.batch_timeout().saturating_sub(failing);
        let is_over = left.is_zero() || failed.retry_after > left;
        if is_over || !failed.is_temporary || !self.publisher.retries() {
            return Err(failed.error);
        }
        self.publisher.tell_retry(&failed.error);
        sleep(self.backoff.next(failed.retry_after)).await;
        Ok(())
    }
}
