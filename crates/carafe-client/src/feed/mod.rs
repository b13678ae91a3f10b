//! Feeding a topic: publishing events one by one over a request that stays open.

pub(crate) mod backlog;
pub(crate) mod body;
pub(crate) mod event;
pub(crate) mod fed;
pub(crate) mod feeder;
pub(crate) mod report;
pub(crate) mod request;
pub(crate) mod shared;
pub(crate) mod task;

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::feed::event::FeedEvent;
use crate::feed::fed::{Fed, FeedError};
use crate::feed::feeder::Feeder;
use crate::feed::shared::{Shared, Wanted};
use crate::publisher::Publisher;
use crate::topic::Outcome;

/// The default of the memory for events that are not known to be stored.
const BACKLOG: usize = 1 << 20;

/// Feeds a topic, such as the answer of a language model, while readers receive each event at once.
///
/// The events travel over one request that stays open. If it breaks, or if the hub restarts, the
/// feed asks the hub what it has, and sends the rest again. Each event has an idempotency key, so
/// it is stored once, and in order. Until they are known to be stored, events are kept in memory.
///
/// A task sends them. It ends with the feed: what was sent by then is stored, and the rest is
/// dropped. So a program ends a feed by [`finish`](Self::finish) or [`end`](Self::end).
///
/// ```no_run
/// use carafe_client::{FeedError, Outcome, Publisher};
///
/// # async fn example() -> Result<(), FeedError> {
/// # let words = ["flat ", "white"];
/// let hub = Publisher::new("http://127.0.0.1:3000");
/// let mut answer = hub.feed("chat/7");
/// for word in words {
///     match answer.send(word).await {
///         Err(FeedError::Stopped(_)) => return answer.end(Outcome::Cancelled).await.map(drop),
///         sent => sent?,
///     }
/// }
/// answer.end(Outcome::Done).await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Feed {
    publisher: Publisher,
    topic: String,
    shared: Arc<Shared>,
    feeding: JoinHandle<()>,
}

impl Publisher {
    /// Feeds a topic over a request that stays open: each event is stored and delivered at once.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn feed(&self, topic: impl Into<String>) -> Feed {
        Feed::of(self.clone(), topic.into())
    }
}

impl Feed {
    fn of(publisher: Publisher, topic: String) -> Self {
        let shared = Arc::new(Shared::new(BACKLOG));
        let feeder = Feeder::new(publisher.clone(), topic.clone(), Arc::clone(&shared));
        Self { publisher, topic, shared, feeding: tokio::spawn(feeder.run()) }
    }

    /// Sets the memory for events that are not known to be stored, in bytes. 1 MiB by default. An
    /// event that is larger is sent nevertheless, alone.
    #[must_use]
    pub fn with_backlog(self, bytes: usize) -> Self {
        self.shared.set_limit(bytes);
        self
    }

    /// Sends an event. It waits while as many events as the [backlog](Self::with_backlog) holds are
    /// not known to be stored: then the hub, or the way to it, is slower than the program.
    ///
    /// It may be dropped: then the event is not sent.
    ///
    /// # Errors
    /// When the producer is asked to stop, or when an event before cannot be stored.
    pub async fn send(&mut self, event: impl Into<FeedEvent>) -> Result<(), FeedError> {
        let event = event.into();
        self.shared.room().await?;
        self.shared.push(event);
        Ok(())
    }

    /// Waits until all events that were sent are stored.
    ///
    /// # Errors
    /// When an event cannot be stored.
    pub async fn flush(&mut self) -> Result<Fed, FeedError> {
        self.shared.want(Wanted::Flush);
        Ok(self.shared.flushed().await?)
    }

    /// Waits until the producer is asked to stop, or the feed fails. Select on it while the program
    /// waits for its next event.
    pub async fn stopped(&self) -> FeedError {
        self.shared.failed().await
    }

    /// Waits until all events are stored, and leaves the topic open.
    ///
    /// # Errors
    /// When an event cannot be stored.
    pub async fn finish(self) -> Result<Fed, FeedError> {
        self.shared.want(Wanted::Finish);
        Ok(self.shared.flushed().await?)
    }

    /// Waits until all events are stored, and ends the topic.
    ///
    /// # Errors
    /// When an event cannot be stored, or the topic cannot be ended.
    pub async fn end(self, outcome: Outcome) -> Result<Fed, FeedError> {
        self.end_with(outcome, "").await
    }

    /// The same, with a few words for readers.
    ///
    /// # Errors
    /// As [`end`](Self::end).
    pub async fn end_with(self, outcome: Outcome, reason: &str) -> Result<Fed, FeedError> {
        let (publisher, topic) = (self.publisher.clone(), self.topic.clone());
        let fed = self.finish().await?;
        let position = publisher.end(&topic, outcome, reason).await?;
        Ok(Fed { position: Some(position), ..fed })
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.feeding.abort();
    }
}
