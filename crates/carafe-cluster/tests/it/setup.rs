//! Creating a stream, and checking one.

use std::time::Duration;

use carafe_cluster::{Created, EngineError, Finding, Requirements, Severity};
use carafe_testing::nats;
use serde_json::json;

use crate::servers::{append, connect, engine, message, read, requirements, start, url, with};

/// The settings that are not right, with what follows.
fn wrong(findings: &[Finding]) -> Vec<(Severity, &'static str)> {
    let wrong = findings.iter().filter(|finding| finding.severity != Severity::Right);
    wrong.map(|finding| (finding.severity, finding.setting)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_created_once_with_settings_that_pass_the_checks() {
    if !nats::is_here("a_stream_is_created_once_with_settings_that_pass_the_checks") {
        return;
    }
    let servers = start(1, "").await;
    let engine = connect(url(&servers, "EVENTS")).await;
    let requirements = Requirements {
        history_age: Some(Duration::from_secs(48 * 3600)),
        history_bytes: Some(1 << 30),
        key_window: Duration::from_secs(24 * 3600),
        ..requirements()
    };
    assert_eq!(engine.state().await, Err(EngineError::Missing));
    assert_eq!(engine.check(requirements).await, Err(EngineError::Missing));
    assert_eq!(engine.create(requirements).await, Ok(Created::New));
    assert_eq!(engine.create(requirements).await, Ok(Created::Existed));
    let findings = engine.check(requirements).await.unwrap();
    let one_server = [(Severity::Warning, "durability"), (Severity::Warning, "replicas")];
    assert_eq!(wrong(&findings), one_server, "{findings:#?}");
    let other = Requirements { key_window: Duration::from_secs(60), ..requirements };
    let refused = (Severity::Refusal, "agreement");
    assert!(wrong(&engine.check(other).await.unwrap()).contains(&refused));
    assert_eq!(append(&engine, "first").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_created_otherwise_is_checked_and_never_changed() {
    if !nats::is_here("what_was_created_otherwise_is_checked_and_never_changed") {
        return;
    }
    let servers = start(1, "max_payload: 8192").await;
    let settings = json!({
        "name": "EVENTS", "subjects": ["mine.>"], "storage": "memory", "retention": "interest",
        "max_msgs": 1000, "discard": "new", "duplicate_window": 10_000_000_000_u64,
        "num_replicas": 1, "no_ack": true,
    });
    with(&servers, move |servers| servers.create_stream(&settings)).await;
    let engine = connect(url(&servers, "EVENTS")).await;
    assert_eq!(engine.create(requirements()).await, Ok(Created::Existed));
    let findings = engine.check(requirements()).await.unwrap();
    let expected = [
        (Severity::Refusal, "storage"),
        (Severity::Warning, "durability"),
        (Severity::Warning, "replicas"),
        (Severity::Refusal, "subjects"),
        (Severity::Refusal, "retention"),
        (Severity::Refusal, "acknowledgements"),
        (Severity::Refusal, "duplicate window"),
        (Severity::Refusal, "message size"),
        (Severity::Warning, "discard"),
        (Severity::Warning, "agreement"),
        (Severity::Refusal, "limits"),
    ];
    assert_eq!(wrong(&findings), expected, "{findings:#?}");
    let payload = findings.iter().find(|finding| finding.setting == "message size").unwrap();
    assert!(payload.text.contains("max_payload"), "{payload}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_stream_that_keeps_its_oldest_messages_refuses_more() {
    if !nats::is_here("a_full_stream_that_keeps_its_oldest_messages_refuses_more") {
        return;
    }
    let servers = start(1, "").await;
    let settings = json!({
        "name": "EVENTS", "subjects": ["events"], "max_bytes": 4096, "discard": "new",
        "num_replicas": 1, "storage": "file", "retention": "limits",
    });
    with(&servers, move |servers| servers.create_stream(&settings)).await;
    let engine = connect(url(&servers, "EVENTS")).await;
    assert_eq!(append(&engine, vec![7; 2048]).await, 1);
    let refused = engine.append(message(vec![7; 2048])).await;
    assert!(matches!(&refused, Err(EngineError::Refused(text)) if text.contains("maximum bytes")));
    assert_eq!(engine.state().await.unwrap().last, 1);
}

/// A stream that was created again has another identity, and one that is the same has the same on
/// each node.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_deleted_and_created_again_is_another() {
    if !nats::is_here("a_stream_that_was_deleted_and_created_again_is_another") {
        return;
    }
    let servers = start(1, "").await;
    let engine = engine(&servers, "EVENTS").await;
    append(&engine, "lost").await;
    let before = engine.state().await.unwrap().identity;
    assert_eq!(connect(url(&servers, "EVENTS")).await.state().await.unwrap().identity, before);

    with(&servers, |servers| servers.delete_stream("EVENTS")).await;
    assert_eq!(engine.state().await, Err(EngineError::Missing));
    assert_eq!(engine.create(requirements()).await, Ok(Created::New));
    let after = engine.state().await.unwrap();
    assert_ne!(after.identity.generation, before.generation);
    assert_eq!((after.first, after.last), (1, 0));
    assert_eq!(append(&engine, "first").await, 1);
}

/// Larger than what a server takes at once by default, and larger still in the server's answer.
#[tokio::test(flavor = "multi_thread")]
async fn the_largest_message_can_be_read_back() {
    if !nats::is_here("the_largest_message_can_be_read_back") {
        return;
    }
    let servers = start(1, "max_payload: 8MB").await;
    let engine = engine(&servers, "EVENTS").await;
    let payload = vec![7; engine.state().await.unwrap().payload];
    assert_eq!(append(&engine, payload.clone()).await, 1);
    assert_eq!(engine.get(1).await.unwrap().unwrap().payload, payload);
    assert_eq!(read(&engine, 1, 1).await[0].payload, payload);
}

/// The subject of the stream may lead to another by mistake.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_never_stored_in_another_stream() {
    if !nats::is_here("a_message_is_never_stored_in_another_stream") {
        return;
    }
    let servers = start(1, "").await;
    let engine = engine(&servers, "EVENTS").await;
    append(&engine, "first").await;
    let other = json!({
        "name": "OTHER", "subjects": ["carafe.>"], "retention": "limits", "storage": "file",
        "num_replicas": 1,
    });
    with(&servers, move |servers| {
        servers.delete_stream("EVENTS");
        servers.create_stream(&other);
    })
    .await;
    let refused = engine.append(message("astray")).await;
    assert!(matches!(refused, Err(EngineError::Refused(_))), "{refused:?}");
    assert_eq!(engine.append(message("astray")).await, Err(EngineError::Missing));
    let others = connect(url(&servers, "OTHER")).await;
    assert_eq!(others.state().await.unwrap().last, 0);
}
