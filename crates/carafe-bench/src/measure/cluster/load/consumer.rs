//! Messages that are published at a rate, and read by an ordered consumer on another connection.

use std::time::{Duration, Instant};

use async_nats::{Client, Message, Subject, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::try_join3;
use serde_json::{Value, json};
use tokio::time::interval;

use crate::outcome::Outcome;

use super::super::engine::{STREAM, SUBJECT};
use super::publisher::{check, connect, wait_until_stored};

/// How long the server keeps a consumer that nobody reads.
const INACTIVE: Duration = Duration::from_secs(30);

/// How often the server says that it lives. Flow control needs it.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// The bytes of a message that say when it was published.
const STAMP: usize = size_of::<u64>();

pub(super) struct Consumer {
    client: Client,
    acknowledgements: Subscriber,
    reply: Subject,
    reader: Reader,
}

struct Reader {
    client: Client,
    messages: Subscriber,
    /// Messages say how long after this they were published.
    start: Instant,
}

impl Consumer {
    pub(super) async fn connect(url: &str) -> Outcome<Self> {
        let client = connect(url).await?;
        // Before the consumer, which would read it.
        wait_until_stored(&client).await?;
        let reader = Reader::begin(connect(url).await?).await?;
        let reply = Subject::from(client.new_inbox());
        let acknowledgements = client.subscribe(reply.clone()).await?;
        client.flush().await?;
        Ok(Self { client, acknowledgements, reply, reader })
    }

    /// Publishes so many messages, and returns the latency of each.
    pub(super) async fn round(
        &mut self,
        messages: u64,
        pause: Duration,
        size: usize,
    ) -> Outcome<Vec<Duration>> {
        let Self { client, acknowledgements, reply, reader } = self;
        let start = reader.start;
        let publish = async {
            let mut pace = interval(pause);
            for _ in 0..messages {
                pace.tick().await;
                let message = stamped(start.elapsed(), size);
                client.publish_with_reply(SUBJECT, reply.clone(), message).await?;
            }
            Ok(())
        };
        let acknowledge = async {
            for _ in 0..messages {
                check(&acknowledgements.next().await.ok_or(ENDED)?)?;
            }
            Ok(())
        };
        let (_, _, latencies): ((), (), _) =
            try_join3(publish, acknowledge, reader.read(messages)).await?;
        Ok(latencies)
    }
}

const ENDED: &str = "the engine has ended the connection";

impl Reader {
    /// Reads what is published from now on.
    async fn begin(client: Client) -> Outcome<Self> {
        let inbox = client.new_inbox();
        let messages = client.subscribe(inbox.clone()).await?;
        let request = json!({ "stream_name": STREAM, "config": {
            "name": "load",
            "deliver_subject": inbox,
            "deliver_policy": "new",
            "ack_policy": "none",
            "idle_heartbeat": HEARTBEAT.as_nanos() as u64,
            "flow_control": true,
            "inactive_threshold": INACTIVE.as_nanos() as u64,
            "mem_storage": true,
            "num_replicas": 1,
        }});
        let subject = format!("$JS.API.CONSUMER.CREATE.{STREAM}.load");
        let answer = client.request(subject, request.to_string().into()).await?;
        let answer: Value = serde_json::from_slice(&answer.payload)?;
        match answer.get("error") {
            None => Ok(Self { client, messages, start: Instant::now() }),
            Some(error) => Err(format!("the engine does not create a consumer: {error}").into()),
        }
    }

    async fn read(&mut self, messages: u64) -> Outcome<Vec<Duration>> {
        let (mut latencies, mut newest) = (Vec::new(), Duration::ZERO);
        while (latencies.len() as u64) < messages {
            let message = self.messages.next().await.ok_or(ENDED)?;
            if message.status.is_some() {
                self.confirm(message).await?;
                continue;
            }
            let published = published(&message.payload).ok_or("a message does not say when")?;
            if published < newest {
                return Err("messages are not in order".into());
            }
            newest = published;
            latencies.push(self.start.elapsed().saturating_sub(published));
        }
        Ok(latencies)
    }

    /// Flow control wants an answer, and heartbeats do not.
    async fn confirm(&self, status: Message) -> Outcome {
        if let Some(reply) = status.reply {
            self.client.publish(reply, Bytes::new()).await?;
        }
        Ok(())
    }
}

fn stamped(time: Duration, size: usize) -> Bytes {
    let mut message = vec![b'x'; size.max(STAMP)];
    message[..STAMP].copy_from_slice(&(time.as_nanos() as u64).to_be_bytes());
    message.into()
}

fn published(message: &[u8]) -> Option<Duration> {
    Some(Duration::from_nanos(u64::from_be_bytes(*message.first_chunk()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_when_it_was_published() {
        let time = Duration::from_micros(1_234_567);
        let message = stamped(time, 128);
        assert_eq!((published(&message), message.len()), (Some(time), 128));
        assert_eq!(published(b"short"), None);
    }
}
