//! An ordered consumer.

use std::time::Duration;

use async_nats::{StatusCode, Subject, Subscriber};
use carafe_log::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use serde::Serialize;
use serde::de::IgnoredAny;
use tokio::time::Instant;

use super::api::call;
use super::message::Delivered;
use super::session::{Session, unavailable};
use crate::{ATTEMPT, EngineError, HEARTBEAT, Stored, Tail};

/// The maximum number of messages at once.
const MESSAGES: usize = 256;

/// The size at which no more messages are added to those at hand.
const BYTES: usize = 4 << 20;

/// How long the server keeps a consumer that nobody reads.
const INACTIVE: Duration = Duration::from_secs(10);

/// A consumer that pushes the messages of a stream, numbers what it delivers, and sends heartbeats
/// while there is nothing to deliver. It keeps no state that outlives it.
pub(super) struct NatsTail {
    session: Session,
    messages: Subscriber,
    order: Order,
    /// The server waits for a message to this subject before it sends more.
    flow_control: Option<Subject>,
    at_hand: Vec<Stored>,
    bytes_at_hand: usize,
    begun: Instant,
    /// Whether anything has come.
    is_heard: bool,
}

#[derive(Serialize)]
struct CreateConsumer<'a> {
    stream_name: &'a str,
    config: ConsumerConfig<'a>,
}

#[derive(Serialize)]
struct ConsumerConfig<'a> {
    name: &'a str,
    deliver_subject: &'a str,
    deliver_policy: &'a str,
    opt_start_seq: u64,
    ack_policy: &'a str,
    replay_policy: &'a str,
    /// The server needs it for flow control.
    idle_heartbeat: u128,
    flow_control: bool,
    inactive_threshold: u128,
    mem_storage: bool,
    num_replicas: usize,
}

impl NatsTail {
    pub(super) async fn begin(
        session: Session,
        stream: &str,
        from: u64,
    ) -> Result<Self, EngineError> {
        let inbox = session.client.new_inbox();
        let messages = session.client.subscribe(inbox.clone()).await.map_err(unavailable)?;
        let name = format!("carafe_{:016x}", rand::random::<u64>());
        let config = ConsumerConfig {
            name: &name,
            deliver_subject: &inbox,
            deliver_policy: "by_start_sequence",
            opt_start_seq: from,
            ack_policy: "none",
            replay_policy: "instant",
            idle_heartbeat: HEARTBEAT.as_nanos(),
            flow_control: true,
            inactive_threshold: INACTIVE.as_nanos(),
            mem_storage: true,
            num_replicas: 1,
        };
        let subject = format!("$JS.API.CONSUMER.CREATE.{stream}.{name}");
        let body = CreateConsumer { stream_name: stream, config };
        let _: IgnoredAny = call(&session, subject, &body, ATTEMPT).await?;
        Ok(Self {
            session,
            messages,
            order: Order { from, delivered: 0 },
            flow_control: None,
            at_hand: Vec::new(),
            bytes_at_hand: 0,
            begun: Instant::now(),
            is_heard: false,
        })
    }

    /// Messages are taken between two waits, so a future that is dropped takes none along.
    async fn next_messages(&mut self) -> Result<Vec<Stored>, EngineError> {
        loop {
            if let Some(subject) = &self.flow_control {
                let confirmed = self.session.client.publish(subject.clone(), "".into()).await;
                confirmed.map_err(unavailable)?;
                self.flow_control = None;
            }
            let message = tokio::select! {
                biased;
                () = self.session.lost() => None,
                message = self.messages.next() => message,
            };
            let message = message.ok_or_else(|| unavailable("the connection was lost"))?;
            self.is_heard = true;
            let is_heartbeat = self.take(message)?;
            self.take_what_is_here()?;
            if is_heartbeat || !self.at_hand.is_empty() {
                self.bytes_at_hand = 0;
                return Ok(std::mem::take(&mut self.at_hand));
            }
        }
    }

    fn take_what_is_here(&mut self) -> Result<(), EngineError> {
        while self.at_hand.len() < MESSAGES
            && self.bytes_at_hand < BYTES
            && let Some(Some(message)) = self.messages.next().now_or_never()
        {
            self.take(message)?;
        }
        Ok(())
    }

    /// Whether it is a sign of life and nothing else.
    fn take(&mut self, message: async_nats::Message) -> Result<bool, EngineError> {
        if message.status == Some(StatusCode::IDLE_HEARTBEAT) {
            return self.take_status(message);
        }
        if let Some(status) = message.status {
            return Err(unavailable(format!("the consumer ended with status {status}")));
        }
        let delivered =
            Delivered::of(message).ok_or_else(|| unavailable("a message has no place"))?;
        self.order.delivery(delivered.delivery, delivered.stored.sequence)?;
        self.bytes_at_hand += delivered.stored.payload.len();
        self.at_hand.push(delivered.stored);
        Ok(false)
    }

    /// A heartbeat, or a request to confirm what has come so far. A heartbeat repeats a request
    /// that the server still waits for.
    fn take_status(&mut self, message: async_nats::Message) -> Result<bool, EngineError> {
        if message.reply.is_some() {
            self.flow_control = message.reply;
            return Ok(false);
        }
        let headers = message.headers.unwrap_or_default();
        if let Some(subject) = headers.get("Nats-Consumer-Stalled") {
            self.flow_control = Some(Subject::from(subject.as_str()));
        }
        let last = headers.get("Nats-Last-Consumer").and_then(|last| last.as_str().parse().ok());
        self.order.heartbeat(last)?;
        Ok(true)
    }
}

impl Drop for NatsTail {
    /// A consumer whose heartbeats do not come is on a server that this one cannot reach.
    fn drop(&mut self) {
        if !self.is_heard && self.begun.elapsed() >= 2 * HEARTBEAT {
            self.session.give_up();
        }
    }
}

/// Notices what was lost between the server and this node: servers drop messages when a connection
/// between them breaks.
struct Order {
    /// The least sequence that the next message may have.
    from: u64,
    /// The number of the last message that was delivered.
    delivered: u64,
}

impl Order {
    /// Sequences may have holes, the numbers of deliveries may not.
    fn delivery(&mut self, delivery: u64, sequence: u64) -> Result<(), EngineError> {
        if delivery != self.delivered + 1 || sequence < self.from {
            return Err(unavailable("messages were lost on the way"));
        }
        *self = Self { from: sequence + 1, delivered: delivery };
        Ok(())
    }

    /// A heartbeat says how many messages were sent before it.
    fn heartbeat(&self, sent: Option<u64>) -> Result<(), EngineError> {
        match sent {
            Some(sent) if sent != self.delivered => {
                Err(unavailable("messages were lost on the way"))
            }
            _ => Ok(()),
        }
    }
}

impl Tail for NatsTail {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Stored>, EngineError>> {
        Box::pin(self.next_messages())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_message_is_noticed_by_the_next_or_by_a_heartbeat() {
        let mut order = Order { from: 5, delivered: 0 };
        assert_eq!(order.heartbeat(Some(0)), Ok(()));
        // Sequence 5 was removed.
        assert_eq!(order.delivery(1, 6), Ok(()));
        assert_eq!(order.delivery(2, 9), Ok(()));
        assert_eq!(order.heartbeat(Some(2)), Ok(()));
        assert!(order.heartbeat(Some(3)).is_err(), "one was sent that has not come");
        assert!(order.delivery(4, 11).is_err(), "the third delivery has not come");
        assert!(order.delivery(3, 9).is_err(), "the stream is another");
        assert_eq!(order.delivery(3, 10), Ok(()));
    }
}
