//! Appending, and reading one message.

use std::collections::HashSet;
use std::time::Duration;

use super::Subject;
use super::helpers::{append, append_message, append_numbers, message};
use crate::{Created, EngineError, NoCommit, Requirements};

pub async fn an_empty_engine_has_nothing(subject: &impl Subject) {
    let engine = subject.engine();
    let state = engine.state().await.unwrap();
    assert_eq!((state.first, state.last), (1, 0));
    assert!(state.payload >= 1 << 16, "{state:?}");
    assert_eq!(engine.get(1).await, Ok(None));
}

pub async fn messages_are_numbered_in_order_from_one(subject: &impl Subject) {
    let engine = subject.engine();
    append_numbers(&engine, 5).await;
    let state = engine.state().await.unwrap();
    assert_eq!((state.first, state.last), (1, 5));
    for number in 1..=5 {
        let stored = engine.get(number).await.unwrap().unwrap();
        assert_eq!((stored.sequence, stored.payload), (number, number.to_string().into()));
    }
    assert_eq!(engine.get(6).await, Ok(None));
}

pub async fn a_message_is_read_back_as_it_was_sent(subject: &impl Subject) {
    let engine = subject.engine();
    let bytes: Vec<u8> = (0..=255).cycle().take(1 << 16).collect();
    for payload in [Vec::new(), b"\r\n\r\n".to_vec(), bytes] {
        let message = message(7, payload);
        let sequence = append_message(&engine, &message).await;
        let stored = engine.get(sequence).await.unwrap().unwrap();
        assert_eq!(stored.id, Some(message.id));
        assert_eq!(stored.format, Some(7));
        assert_eq!((stored.sent, stored.checksum), (Some(message.sent), Some(message.checksum)));
        assert_eq!(stored.payload, message.payload);
    }
}

/// Nodes say by it when they send a commit, and skip what is stored much later.
pub async fn the_time_of_messages_is_that_of_the_engine(subject: &impl Subject) {
    let engine = subject.engine();
    let before = engine.state().await.unwrap().now;
    let sequence = append(&engine, "message").await;
    let stored = engine.get(sequence).await.unwrap().unwrap().time;
    let after = engine.state().await.unwrap().now;
    assert!(before <= stored && stored <= after, "{before:?} {stored:?} {after:?}");
}

pub async fn the_same_id_is_stored_once(subject: &impl Subject) {
    let engine = subject.engine();
    let message = message(1, "once");
    let first = append_message(&engine, &message).await;
    append(&engine, "between").await;
    assert_eq!(append_message(&subject.engine(), &message).await, first);
    assert_eq!(engine.state().await.unwrap().last, 2);
}

pub async fn a_payload_beyond_the_limit_is_refused_and_not_stored(subject: &impl Subject) {
    let engine = subject.engine();
    let limit = engine.state().await.unwrap().payload;
    let too_large = engine.append(message(1, vec![7; limit + 1])).await;
    assert!(matches!(too_large, Err(EngineError::Refused(_))), "{too_large:?}");
    assert_eq!(append(&engine, vec![7; limit]).await, 1);
    assert_eq!(engine.get(1).await.unwrap().unwrap().payload.len(), limit);
}

pub async fn appends_at_once_get_a_sequence_each(subject: &impl Subject) {
    let appends = (0..64).map(|number: u64| {
        let engine = subject.engine();
        tokio::spawn(async move { append(&engine, number.to_string()).await })
    });
    let mut sequences = HashSet::new();
    for append in appends.collect::<Vec<_>>() {
        sequences.insert(append.await.unwrap());
    }
    assert_eq!(sequences, (1..=64).collect());
}

pub async fn a_message_of_another_program_is_no_commit(subject: &impl Subject) {
    let engine = subject.engine();
    subject.insert_foreign(b"hello").await;
    assert_eq!(append(&engine, "commit").await, 2);
    let foreign = engine.get(1).await.unwrap().unwrap();
    assert_eq!((foreign.id, &*foreign.payload), (None, &b"hello"[..]));
    assert!(matches!(foreign.commit(1), Err(NoCommit::Foreign(_))));
}

pub async fn trimmed_messages_are_gone_and_the_others_stay(subject: &impl Subject) {
    let engine = subject.engine();
    append_numbers(&engine, 5).await;
    subject.trim(4).await;
    let state = engine.state().await.unwrap();
    assert_eq!((state.first, state.last), (4, 5));
    assert_eq!(engine.get(3).await, Ok(None));
    for (from, found) in [(1, Some(4)), (4, Some(4)), (5, Some(5)), (6, None)] {
        let first = engine.first_from(from).await.unwrap();
        assert_eq!(first.map(|stored| stored.sequence), found, "from {from}");
    }
    assert_eq!(engine.get(4).await.unwrap().unwrap().payload, "4");
}

pub async fn the_identity_stays_the_same(subject: &impl Subject) {
    let before = subject.engine().state().await.unwrap().identity;
    append(&subject.engine(), "message").await;
    assert_eq!(subject.engine().state().await.unwrap().identity, before);
}

pub async fn what_exists_is_not_created_again(subject: &impl Subject) {
    let engine = subject.engine();
    append(&engine, "kept").await;
    let has = async || {
        let state = engine.state().await.unwrap();
        (state.identity, state.first, state.last)
    };
    let before = has().await;
    let requirements = Requirements {
        event_bytes: 1024,
        history_age: None,
        history_bytes: None,
        key_window: Duration::from_secs(60),
    };
    assert_eq!(engine.create(requirements).await, Ok(Created::Existed));
    assert_eq!(has().await, before);
}
