//! The contract, and the faults.

use std::time::{Duration, UNIX_EPOCH};

use futures_util::FutureExt;
use tokio::time::Instant;

use super::*;
use crate::contract::Subject;
use crate::{HEARTBEAT, MessageId};

impl Subject for MemoryEngine {
    fn start(_: &'static str, payload: usize) -> BoxFuture<'static, Option<Self>> {
        Box::pin(ready(Some(Self::new("CONTRACT").with_payload(payload))))
    }

    fn engine(&self) -> Arc<dyn Setup> {
        Arc::new(self.clone())
    }

    fn insert_foreign(&self, payload: &'static [u8]) -> BoxFuture<'_, ()> {
        self.insert_foreign(payload);
        Box::pin(ready(()))
    }

    fn trim(&self, first: u64) -> BoxFuture<'_, ()> {
        self.trim(first);
        Box::pin(ready(()))
    }
}

crate::contract::tests!(MemoryEngine, start_paused = true);

fn engine() -> MemoryEngine {
    MemoryEngine::new("CARAFE")
}

fn message(text: &'static str) -> Message {
    Message::new(1, UNIX_EPOCH, text)
}

async fn append(engine: &MemoryEngine, text: &'static str) -> u64 {
    engine.append(message(text)).await.unwrap()
}

fn is_unavailable<T: std::fmt::Debug>(result: &Result<T, EngineError>) {
    assert!(matches!(result, Err(EngineError::Unavailable(_))), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_leaves_the_message_stored_and_a_lost_request_does_not() {
    let engine = engine();
    engine.next_appends([Outcome::LostAnswer, Outcome::LostRequest]);
    let (first, second) = (message("first"), message("second"));
    is_unavailable(&engine.append(first.clone()).await);
    is_unavailable(&engine.append(second.clone()).await);
    assert_eq!(engine.append(second).await, Ok(2));
    assert_eq!(engine.append(first).await, Ok(1), "it is recognized");
    assert_eq!(engine.counts().appends, 4);
}

#[tokio::test(start_paused = true)]
async fn a_message_is_not_recognized_after_the_window() {
    let engine = engine().with_window(Duration::from_secs(30));
    let again = message("again");
    assert_eq!(engine.append(again.clone()).await, Ok(1));
    tokio::time::advance(Duration::from_secs(29)).await;
    assert_eq!(engine.append(again.clone()).await, Ok(1));
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(engine.append(again).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn a_copy_is_stored_again_only_after_the_window() {
    let engine = engine().with_window(Duration::from_secs(30));
    for (wait, last) in [(29, 1), (31, 3)] {
        engine.copy_next_appends(1);
        append(&engine, "copied").await;
        tokio::time::advance(Duration::from_secs(wait)).await;
        engine.forward_copies();
        assert_eq!(engine.state().await.unwrap().last, last);
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_away_fails_at_once_and_ends_its_tails() {
    let engine = engine();
    let mut tail = engine.tail(1).await.unwrap();
    engine.away(true);
    let start = Instant::now();
    is_unavailable(&tail.next().await);
    is_unavailable(&engine.state().await);
    is_unavailable(&engine.append(message("lost")).await);
    assert_eq!(start.elapsed(), Duration::ZERO);
    engine.away(false);
    is_unavailable(&tail.next().await);
    assert_eq!(engine.state().await.unwrap().last, 0);
}

#[tokio::test(start_paused = true)]
async fn a_frozen_engine_is_silent_and_later_stores_what_it_has_received() {
    let engine = engine();
    let mut tail = engine.tail(1).await.unwrap();
    engine.frozen(true);
    is_unavailable(&engine.append(message("late")).await);
    is_unavailable(&engine.get(1).await);
    let silent = timeout(10 * HEARTBEAT, tail.next()).await;
    assert!(silent.is_err(), "a frozen engine sends no heartbeat: {silent:?}");
    engine.frozen(false);
    assert_eq!(tail.next().await.unwrap()[0].payload, "late");
}

#[tokio::test(start_paused = true)]
async fn a_muted_tail_is_silent_although_the_engine_works() {
    let engine = engine();
    let mut tail = engine.tail(1).await.unwrap();
    engine.muted(true);
    append(&engine, "unheard").await;
    assert!(timeout(10 * HEARTBEAT, tail.next()).await.is_err());
    engine.muted(false);
    assert_eq!(tail.next().await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_tail_gives_its_sequences_out_again() {
    let engine = engine();
    for text in ["kept", "lost", "lost too"] {
        append(&engine, text).await;
    }
    let mut tail = engine.tail(4).await.unwrap();
    let before = engine.state().await.unwrap();
    engine.lose_tail(2);
    is_unavailable(&tail.next().await);
    let after = engine.state().await.unwrap();
    assert_eq!((after.last, &after.identity), (1, &before.identity));
    assert_eq!(append(&engine, "another").await, 2);
    assert_eq!(engine.get(2).await.unwrap().unwrap().payload, "another");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_was_created_again_is_empty_and_another() {
    let engine = engine();
    append(&engine, "lost").await;
    let before = engine.state().await.unwrap();
    engine.delete();
    assert_eq!(engine.state().await, Err(EngineError::Missing));
    assert_eq!(engine.append(message("nowhere")).await, Err(EngineError::Missing));
    engine.recreate();
    let after = engine.state().await.unwrap();
    assert_eq!((after.first, after.last), (1, 0));
    assert_ne!(after.identity.generation, before.identity.generation);
}

#[tokio::test(start_paused = true)]
async fn a_restored_engine_has_what_it_had_and_the_same_identity() {
    let engine = engine();
    let kept = message("kept");
    engine.append(kept.clone()).await.unwrap();
    let (snapshot, before) = (engine.snapshot(), engine.state().await.unwrap());
    append(&engine, "lost").await;
    engine.recreate();
    engine.restore(&snapshot);
    assert_eq!(engine.state().await.unwrap(), before);
    assert_eq!(engine.append(kept).await, Ok(1), "it is recognized");
}

#[tokio::test(start_paused = true)]
async fn a_removed_message_leaves_a_hole() {
    let engine = engine();
    for text in ["first", "removed", "last"] {
        append(&engine, text).await;
    }
    engine.remove(2);
    let mut tail = engine.tail(1).await.unwrap();
    let sequences: Vec<u64> =
        tail.next().await.unwrap().iter().map(|stored| stored.sequence).collect();
    assert_eq!(sequences, [1, 3]);
    assert_eq!(engine.get(2).await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn a_slow_engine_takes_its_time_for_appends_and_deliveries() {
    let engine = engine();
    engine.slow(Duration::from_millis(300), Duration::from_millis(500));
    let mut tail = engine.tail(1).await.unwrap();
    let start = Instant::now();
    append(&engine, "slow").await;
    assert_eq!(start.elapsed(), Duration::from_millis(300));
    assert_eq!(tail.next().await.unwrap().len(), 1);
    assert_eq!(start.elapsed(), Duration::from_millis(800));
    engine.slow(2 * ATTEMPT, Duration::ZERO);
    is_unavailable(&engine.append(message("too slow")).await);
}

#[tokio::test(start_paused = true)]
async fn times_may_go_back_when_another_server_leads() {
    let engine = engine();
    append(&engine, "first").await;
    engine.clock_behind(Duration::from_secs(5));
    tokio::time::advance(Duration::from_secs(2)).await;
    append(&engine, "second").await;
    let times = [1, 2].map(|sequence| engine.get(sequence));
    let [first, second] = times.map(|stored| stored.now_or_never().unwrap().unwrap().unwrap().time);
    assert_eq!(first.duration_since(second).unwrap(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn ids_of_messages_differ() {
    let ids: std::collections::HashSet<MessageId> = (0..1000).map(|_| message("same").id).collect();
    assert_eq!(ids.len(), 1000);
}
