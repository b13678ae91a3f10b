//! Short names for what the tests do with an engine.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tokio::time::timeout;

use crate::{Engine, EngineError, Message, Setup, Stored, Tail};

/// The time limit for anything that takes a moment on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn append(engine: &Arc<dyn Setup>, payload: impl Into<bytes::Bytes>) -> u64 {
    append_message(engine, &message(1, payload)).await
}

pub(super) fn message(format: u32, payload: impl Into<bytes::Bytes>) -> Message {
    Message::new(format, UNIX_EPOCH + Duration::from_millis(1_764_410_400_123), payload)
}

/// Sends the message again as long as its outcome is unknown.
pub(super) async fn append_message(engine: &Arc<dyn Setup>, message: &Message) -> u64 {
    let appended = async {
        loop {
            match engine.append(message.clone()).await {
                Ok(sequence) => return sequence,
                Err(EngineError::Unavailable(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    timeout(PATIENCE, appended).await.expect("the engine stores a message within the time limit")
}

pub(super) async fn append_numbers(engine: &Arc<dyn Setup>, count: u64) {
    for number in 1..=count {
        assert_eq!(append(engine, number.to_string()).await, number);
    }
}

pub(super) async fn tail(engine: &(impl Engine + ?Sized), from: u64) -> Box<dyn Tail> {
    engine.tail(from).await.unwrap()
}

/// The next `count` messages.
pub(super) async fn take(tail: &mut Box<dyn Tail>, count: usize) -> Vec<Stored> {
    let mut taken = Vec::new();
    let all = async {
        while taken.len() < count {
            taken.extend(tail.next().await.unwrap());
        }
    };
    timeout(PATIENCE, all).await.expect("the tail delivers within the time limit");
    assert_eq!(taken.len(), count, "no more than was appended");
    taken
}

pub(super) fn sequences(messages: &[Stored]) -> Vec<u64> {
    messages.iter().map(|stored| stored.sequence).collect()
}
