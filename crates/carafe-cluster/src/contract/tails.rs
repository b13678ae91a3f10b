//! Following messages.

use tokio::time::timeout;

use super::Subject;
use super::helpers::{append, append_numbers, sequences, tail, take};
use crate::{EngineError, HEARTBEAT};

pub async fn a_tail_delivers_what_is_stored_and_what_comes(subject: &impl Subject) {
    let engine = subject.engine();
    append_numbers(&engine, 3).await;
    let mut tail = tail(&*engine, 1).await;
    assert_eq!(sequences(&take(&mut tail, 3).await), [1, 2, 3]);
    append(&engine, "live").await;
    let live = take(&mut tail, 1).await;
    assert_eq!((live[0].sequence, &*live[0].payload), (4, &b"live"[..]));
}

pub async fn a_tail_begins_at_its_sequence(subject: &impl Subject) {
    let engine = subject.engine();
    append_numbers(&engine, 5).await;
    let mut tail = tail(&*engine, 4).await;
    assert_eq!(sequences(&take(&mut tail, 2).await), [4, 5]);
}

pub async fn a_tail_of_trimmed_messages_begins_with_the_oldest(subject: &impl Subject) {
    let engine = subject.engine();
    append_numbers(&engine, 5).await;
    subject.trim(3).await;
    let mut tail = tail(&*engine, 1).await;
    assert_eq!(sequences(&take(&mut tail, 3).await), [3, 4, 5]);
}

pub async fn a_tail_beyond_the_end_is_an_error(subject: &impl Subject) {
    let engine = subject.engine();
    append_numbers(&engine, 2).await;
    let beyond = engine.tail(4).await.map(drop);
    assert!(matches!(beyond, Err(EngineError::Unavailable(_))), "{beyond:?}");
}

pub async fn a_tail_just_behind_the_end_waits_for_the_next(subject: &impl Subject) {
    let engine = subject.engine();
    let mut from_the_start = tail(&*engine, 1).await;
    append_numbers(&engine, 2).await;
    let mut behind = tail(&*engine, 3).await;
    append(&engine, "next").await;
    assert_eq!(sequences(&take(&mut behind, 1).await), [3]);
    assert_eq!(sequences(&take(&mut from_the_start, 3).await), [1, 2, 3]);
}

pub async fn a_quiet_tail_has_a_heartbeat(subject: &impl Subject) {
    let engine = subject.engine();
    append_numbers(&engine, 1).await;
    let mut tail = tail(&*engine, 2).await;
    for _ in 0..2 {
        // Much more than a heartbeat: the machine may be busy.
        let heartbeat = timeout(30 * HEARTBEAT, tail.next()).await.expect("a heartbeat in time");
        assert_eq!(heartbeat, Ok(Vec::new()));
    }
    append(&engine, "after the heartbeat").await;
    assert_eq!(sequences(&take(&mut tail, 1).await), [2]);
}

pub async fn a_future_that_is_dropped_takes_no_message_with_it(subject: &impl Subject) {
    const MESSAGES: u64 = 50;
    let engine = subject.engine();
    let mut tail = tail(&*engine, 1).await;
    let appender = tokio::spawn(async move { append_numbers(&engine, MESSAGES).await });
    let mut delivered = Vec::new();
    while delivered.len() < MESSAGES as usize {
        // Polled once or a few times, and dropped.
        let briefly = std::time::Duration::from_micros(200);
        if let Ok(messages) = timeout(briefly, tail.next()).await {
            delivered.extend(messages.unwrap());
        }
    }
    appender.await.unwrap();
    assert_eq!(sequences(&delivered), (1..=MESSAGES).collect::<Vec<_>>());
}

/// More than fits into buffers on the way: the engine has to wait for the tail.
pub async fn a_long_backlog_is_delivered_in_order(subject: &impl Subject) {
    const MESSAGES: u64 = 400;
    let engine = subject.engine();
    for number in 1..=MESSAGES {
        assert_eq!(append(&engine, vec![number as u8; 30_000]).await, number);
    }
    let mut tail = tail(&*engine, 1).await;
    let delivered = take(&mut tail, MESSAGES as usize).await;
    assert_eq!(sequences(&delivered), (1..=MESSAGES).collect::<Vec<_>>());
    assert!(delivered.iter().all(|stored| stored.payload[..] == [stored.sequence as u8; 30_000]));
}

pub async fn a_tail_and_get_deliver_the_same(subject: &impl Subject) {
    let engine = subject.engine();
    append(&engine, "commit").await;
    subject.insert_foreign(b"foreign").await;
    let delivered = take(&mut tail(&*engine, 1).await, 2).await;
    for stored in delivered {
        assert_eq!(engine.get(stored.sequence).await, Ok(Some(stored)));
    }
}

pub async fn all_tails_deliver_the_same_while_many_append(subject: &impl Subject) {
    const NODES: usize = 3;
    const MESSAGES: usize = 40;
    let appenders = (0..NODES).map(|node| {
        let engine = subject.engine();
        tokio::spawn(async move {
            for number in 0..MESSAGES {
                append(&engine, format!("{node} {number}")).await;
            }
        })
    });
    let appenders: Vec<_> = appenders.collect();
    let mut histories = Vec::new();
    for _ in 0..NODES {
        let mut tail = tail(&*subject.engine(), 1).await;
        histories.push(take(&mut tail, NODES * MESSAGES).await);
    }
    for appender in appenders {
        appender.await.unwrap();
    }
    let expected: Vec<u64> = (1..=(NODES * MESSAGES) as u64).collect();
    assert_eq!(sequences(&histories[0]), expected);
    assert!(histories.iter().all(|history| *history == histories[0]));
}
