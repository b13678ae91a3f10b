//! Publishing to a stream, with many messages in flight.

use std::time::{Duration, Instant};

use async_nats::{Client, Message, Subject, Subscriber};
use bytes::Bytes;
use futures_util::future::try_join_all;
use futures_util::{FutureExt, StreamExt};
use tokio::time::sleep;

use crate::outcome::Outcome;

use super::super::engine::SUBJECT;

/// How long servers may take until they know the subject of a new stream.
const PATIENCE: Duration = Duration::from_secs(10);

const PAUSE: Duration = Duration::from_millis(20);

/// One publisher on each connection.
pub(super) struct Publishers(Vec<Publisher>);

/// Publishes, and reads the acknowledgements. Nothing is cheaper: they all have one subject, and
/// are only counted.
struct Publisher {
    client: Client,
    acknowledgements: Subscriber,
    subject: Subject,
    reply: Subject,
    window: usize,
}

impl Publishers {
    /// They share the messages in flight.
    pub(super) async fn connect(url: &str, connections: usize, window: usize) -> Outcome<Self> {
        let shares = (0..connections)
            .map(|at| window / connections + usize::from(at < window % connections));
        let all = shares.map(|share| Publisher::connect(url, share));
        Ok(Self(try_join_all(all).await?))
    }

    /// Publishes until `end`, and returns how many messages were acknowledged: all of them.
    pub(super) async fn round(&mut self, payload: &Bytes, end: Instant) -> Outcome<u64> {
        let all = self.0.iter_mut().map(|publisher| publisher.round(payload, end));
        Ok(try_join_all(all).await?.into_iter().sum())
    }
}

impl Publisher {
    async fn connect(url: &str, window: usize) -> Outcome<Self> {
        let client = connect(url).await?;
        wait_until_stored(&client).await?;
        let reply = Subject::from(client.new_inbox());
        let acknowledgements = client.subscribe(reply.clone()).await?;
        client.flush().await?;
        Ok(Self { client, acknowledgements, subject: Subject::from(SUBJECT), reply, window })
    }

    async fn round(&mut self, payload: &Bytes, end: Instant) -> Outcome<u64> {
        let (mut in_flight, mut acknowledged) = (0, 0);
        loop {
            while in_flight < self.window && Instant::now() < end {
                self.publish(payload.clone()).await?;
                in_flight += 1;
            }
            if in_flight == 0 {
                return Ok(acknowledged);
            }
            let count = self.wait_for_acknowledgements().await?;
            in_flight -= count;
            acknowledged += count as u64;
        }
    }

    async fn publish(&self, payload: Bytes) -> Outcome {
        let (subject, reply) = (self.subject.clone(), self.reply.clone());
        Ok(self.client.publish_with_reply(subject, reply, payload).await?)
    }

    /// Returns when there is at least one, with how many there are.
    async fn wait_for_acknowledgements(&mut self) -> Outcome<usize> {
        let first = self.acknowledgements.next().await;
        check(&first.ok_or("the engine has ended the connection")?)?;
        let mut count = 1;
        while let Some(Some(next)) = self.acknowledgements.next().now_or_never() {
            check(&next)?;
            count += 1;
        }
        Ok(count)
    }
}

/// All servers are known: those that one server tells of are the same.
pub(super) async fn connect(url: &str) -> Outcome<Client> {
    let servers: Vec<_> = url.trim_start_matches("nats://").split(',').collect();
    Ok(async_nats::connect(servers).await?)
}

/// Publishes an empty message until it is stored: the server of this connection may not know yet
/// that another has the stream.
pub(super) async fn wait_until_stored(client: &Client) -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let stored = match client.request(SUBJECT, Bytes::new()).await {
            Ok(answer) => check(&answer),
            Err(error) => Err(error.into()),
        };
        if stored.is_ok() || Instant::now() >= deadline {
            return stored;
        }
        sleep(PAUSE).await;
    }
}

/// Such as `{"stream":"bench","seq":1}`, or with `error` instead.
pub(super) fn check(acknowledgement: &Message) -> Outcome {
    let text = String::from_utf8_lossy(&acknowledgement.payload);
    if acknowledgement.status.is_none() && is_stored(&text) {
        return Ok(());
    }
    Err(format!("the engine has not stored a message: {:?} {text}", acknowledgement.status).into())
}

fn is_stored(text: &str) -> bool {
    text.contains("\"seq\":") && !text.contains("\"error\":")
}

#[cfg(test)]
mod tests {
    use super::is_stored;

    #[test]
    fn an_error_is_no_acknowledgement() {
        assert!(is_stored(r#"{"stream":"bench","seq":27}"#));
        assert!(!is_stored(r#"{"error":{"code":503},"stream":"bench","seq":0}"#));
        assert!(!is_stored(""));
    }
}
