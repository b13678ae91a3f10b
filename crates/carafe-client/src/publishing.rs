//! What a publisher publishes, and asks.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde::Deserialize;

use crate::attempts::Answered;
use crate::failed::Failed;
use crate::publish::{Publish, batch, repeatable_batch};
use crate::publisher::Publisher;
use crate::publisher_error::PublisherError;
use crate::redirect::Outgoing;
use crate::topic::{Outcome, TopicState};

impl Publisher {
    /// Publishes one event. Returns its position in the log.
    ///
    /// # Errors
    /// As [`publish_all`](Self::publish_all).
    pub async fn publish(&self, event: &Publish) -> Result<String, PublisherError> {
        let one = std::slice::from_ref(event);
        let mut ids = self.publish_within(one, self.event_timeout()).await?;
        ids.pop()
            .ok_or_else(|| PublisherError::Unknown(String::from("the response has no ID").into()))
    }

    /// Publishes a batch in order. The hub stores all events or none. Returns their positions.
    ///
    /// # Errors
    /// When the hub rejects the request for good, or when the time is over.
    pub async fn publish_all(&self, events: &[Publish]) -> Result<Vec<String>, PublisherError> {
        self.publish_within(events, self.batch_timeout()).await
    }

    async fn publish_within(
        &self,
        events: &[Publish],
        timeout: Duration,
    ) -> Result<Vec<String>, PublisherError> {
        // Encoded once: all attempts send the same keys.
        let body = if self.retries() { repeatable_batch(events) } else { batch(events) };
        let mut request = Outgoing::to(Method::POST, self.parsed_url()?);
        let content_type = HeaderValue::from_static("application/x-ndjson");
        request.headers.insert(CONTENT_TYPE, content_type);
        request.body = Some(body);
        let Published { ids } = self.repeat(&request, timeout, json).await?;
        Ok(ids)
    }

    /// Ends a topic, with a few words for readers, which may be empty. Ending it again in the same
    /// way changes nothing. Returns the position of the end.
    ///
    /// # Errors
    /// As [`publish_all`](Self::publish_all). The status is 409 if it has ended in another way.
    pub async fn end(
        &self,
        topic: &str,
        outcome: Outcome,
        reason: &str,
    ) -> Result<String, PublisherError> {
        let mut url = self.topic_url(topic)?;
        url.query_pairs_mut().append_pair("end", outcome.as_str());
        if !reason.is_empty() {
            url.query_pairs_mut().append_pair("reason", reason);
        }
        let request = Outgoing::to(Method::POST, url);
        let Ended { id } = self.repeat(&request, self.batch_timeout(), json).await?;
        Ok(id)
    }

    /// What the hub has of a topic.
    ///
    /// # Errors
    /// As [`publish_all`](Self::publish_all).
    pub async fn topic_state(&self, topic: &str) -> Result<TopicState, PublisherError> {
        let request = Outgoing::to(Method::HEAD, self.topic_url(topic)?);
        let read = |answered: &Answered| Ok(TopicState::of(&answered.headers));
        self.repeat(&request, self.event_timeout(), read).await
    }
}

#[derive(Deserialize)]
struct Published {
    ids: Vec<String>,
}

#[derive(Deserialize)]
struct Ended {
    id: String,
}

/// The content of a response.
fn json<T: for<'a> Deserialize<'a>>(answered: &Answered) -> Result<T, Failed> {
    serde_json::from_slice(&answered.body).map_err(Failed::reading)
}
