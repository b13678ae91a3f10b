//! Each setting that is not as a cluster needs it.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::Severity;

const HOUR: u64 = 3600;

fn requirements() -> Requirements {
    Requirements {
        event_bytes: 256 << 10,
        history_age: Some(Duration::from_secs(48 * HOUR)),
        history_bytes: None,
        key_window: Duration::from_secs(24 * HOUR),
    }
}

fn config() -> Value {
    json!({
        "name": "EVENTS", "subjects": ["carafe.EVENTS"], "retention": "limits", "max_msgs": -1,
        "max_msgs_per_subject": -1, "max_bytes": -1, "max_age": 48 * HOUR * 1_000_000_000,
        "max_msg_size": -1, "discard": "old", "storage": "file", "num_replicas": 3,
        "duplicate_window": 120_000_000_000_u64, "sealed": false,
        "metadata": {"carafe-key-window-ms": "86400000"},
    })
}

fn info(changes: &Value) -> StreamInfo {
    let mut config = config();
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    serde_json::from_value(json!({
        "config": config,
        "created": "2026-11-29T10:00:00Z",
        "state": {"messages": 0, "first_seq": 0, "last_seq": 0},
        "cluster": {"replicas": [{"name": "n2", "current": true}, {"name": "n3", "current": true}]},
    }))
    .unwrap()
}

fn server() -> Server {
    Server { version: "2.15.1".into(), payload: 1 << 20, denied: Vec::new() }
}

/// The settings that are not right, with what follows.
fn wrong(findings: &[Finding]) -> Vec<(Severity, &'static str)> {
    let wrong = findings.iter().filter(|finding| finding.severity != Severity::Right);
    wrong.map(|finding| (finding.severity, finding.setting)).collect()
}

#[track_caller]
fn check_change(changes: &Value, expected: &[(Severity, &'static str)]) {
    let findings = check(&info(changes), &server(), Some(3), requirements());
    assert_eq!(wrong(&findings), expected, "{changes}: {findings:#?}");
}

#[track_caller]
fn check_requirements(requirements: Requirements, expected: &[(Severity, &'static str)]) {
    let findings = check(&info(&json!({})), &server(), Some(3), requirements);
    assert_eq!(wrong(&findings), expected, "{requirements:?}: {findings:#?}");
}

#[test]
fn the_settings_of_a_new_stream_are_right_and_each_is_named() {
    let findings = check(&info(&json!({})), &server(), Some(3), requirements());
    assert_eq!(wrong(&findings), []);
    let names: std::collections::HashSet<_> = findings.iter().map(|it| it.setting).collect();
    assert_eq!(names.len(), findings.len());
    assert_eq!(findings[0].to_string(), "ok: version: the server is nats-server 2.15.1");
}

#[test]
fn a_stream_that_would_lose_or_disorder_events_is_refused() {
    for (changes, setting) in [
        (json!({"storage": "memory"}), "storage"),
        (json!({"persist_mode": "async"}), "durability"),
        (json!({"subjects": ["a", "b"]}), "subjects"),
        (json!({"subjects": ["a.*"]}), "subjects"),
        (json!({"subjects": []}), "subjects"),
        (json!({"mirror": {"name": "other"}}), "origin"),
        (json!({"sources": [{"name": "other"}]}), "origin"),
        (json!({"sealed": true}), "origin"),
        (json!({"retention": "workqueue"}), "retention"),
        (json!({"no_ack": true}), "acknowledgements"),
        (json!({"duplicate_window": 29_000_000_000_u64}), "duplicate window"),
    ] {
        check_change(&changes, &[(Severity::Refusal, setting)]);
    }
}

#[test]
fn fewer_replicas_than_asked_for_are_refused_and_one_is_warned_of() {
    let one = json!({"num_replicas": 1});
    check_change(&one, &[(Severity::Warning, "durability"), (Severity::Refusal, "replicas")]);
    let findings = check(&info(&one), &server(), None, requirements());
    let expected = [(Severity::Warning, "durability"), (Severity::Warning, "replicas")];
    assert_eq!(wrong(&findings), expected);
    let four = check(&info(&json!({"num_replicas": 4})), &server(), Some(3), requirements());
    assert_eq!(wrong(&four), [(Severity::Warning, "replicas")]);
}

#[test]
fn replicas_that_are_down_or_behind_are_named() {
    let mut info = info(&json!({}));
    let peers = &mut info.cluster.as_mut().unwrap().replicas;
    peers[0].offline = true;
    peers[1].current = false;
    let findings = check(&info, &server(), Some(3), requirements());
    assert_eq!(wrong(&findings), [(Severity::Warning, "servers")]);
    assert!(findings.iter().any(|finding| finding.text.contains("n2, n3")), "{findings:#?}");
}

#[test]
fn a_payload_that_an_event_may_exceed_is_refused_with_what_would_fit() {
    let server = Server { payload: (64 << 10) - 256, ..server() };
    let findings = check(&info(&json!({})), &server, Some(3), requirements());
    assert_eq!(wrong(&findings), [(Severity::Refusal, "message size")]);
    let text = &findings.iter().find(|it| it.severity == Severity::Refusal).unwrap().text;
    assert!(text.contains(&format!("--event-bytes to {}", (48 << 10) - 256)), "{text}");
}

#[test]
fn an_old_server_is_refused_and_an_unknown_version_is_not() {
    let refused = |version: &str| {
        let server = Server { version: version.into(), ..server() };
        !wrong(&check(&info(&json!({})), &server, Some(3), requirements())).is_empty()
    };
    assert!(refused("2.9.25") && refused("1.4.1"));
    assert!(!refused("2.10.0") && !refused("2.16.0-RC.1") && !refused("3.0.0") && !refused(""));
}

#[test]
fn keys_have_to_be_kept_by_the_stream_and_the_nodes() {
    for (hours, expected) in [(23, Severity::Refusal), (24, Severity::Warning)] {
        let age = json!({"max_age": hours * HOUR * 1_000_000_000});
        check_change(&age, &[(expected, "key window"), (Severity::Warning, "age")]);
    }
    let history_age = Some(Duration::from_secs(HOUR));
    let shorter = Requirements { history_age, ..requirements() };
    check_requirements(shorter, &[(Severity::Refusal, "key window")]);
}

#[test]
fn nodes_have_to_have_the_key_window_of_the_cluster() {
    let key_window = Duration::from_secs(HOUR);
    let other = Requirements { key_window, ..requirements() };
    check_requirements(other, &[(Severity::Refusal, "agreement")]);
    check_change(&json!({"metadata": {}}), &[(Severity::Warning, "agreement")]);
}

#[test]
fn history_that_nodes_and_stream_keep_differently_is_warned_of() {
    let unlimited = Requirements { history_age: None, ..requirements() };
    check_requirements(unlimited, &[(Severity::Warning, "age")]);
    check_change(&json!({"max_age": 0, "max_bytes": 1 << 30}), &[]);
    let small = Requirements { history_bytes: Some(1 << 20), ..requirements() };
    check_requirements(small, &[]);
}

#[test]
fn limits_that_do_not_fit_a_log_are_warned_of() {
    for limit in ["max_msgs", "max_msgs_per_subject"] {
        check_change(&json!({limit: 10_000}), &[(Severity::Warning, "limits")]);
        check_change(&json!({limit: 9_999}), &[(Severity::Refusal, "limits")]);
    }
    check_change(&json!({"max_age": 0}), &[(Severity::Warning, "limits")]);
    let full = json!({"max_bytes": 1 << 30, "discard": "new"});
    check_change(&full, &[(Severity::Warning, "discard")]);
}

#[test]
fn a_stream_needs_room_for_the_consumers_of_nodes() {
    let findings = |most: i64, used: i64| {
        let mut info = info(&json!({"max_consumers": most}));
        info.state.consumer_count = used;
        wrong(&check(&info, &server(), Some(3), requirements()))
    };
    assert_eq!(findings(-1, 100), []);
    assert_eq!(findings(5, 3), []);
    assert_eq!(findings(4, 3), [(Severity::Warning, "consumers")]);
    assert_eq!(findings(1, 0), [(Severity::Refusal, "consumers")]);
}

#[test]
fn a_full_stream_that_holds_less_than_two_key_windows_is_warned_of() {
    let findings = |bytes: u64, first_seq: u64, hours: u64| {
        let mut info = info(&json!({"max_bytes": 1 << 30}));
        let first = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let last = first + Duration::from_secs(hours * HOUR);
        info.state.bytes = bytes;
        (info.state.first_seq, info.state.last_seq, info.state.messages) = (first_seq, 9000, 5000);
        (info.state.first_ts, info.state.last_ts) = (Some(first), Some(last));
        wrong(&check(&info, &server(), Some(3), requirements()))
    };
    let full = (1 << 30) - 1000;
    assert_eq!(findings(full, 4001, 47), [(Severity::Warning, "space")]);
    assert_eq!(findings(full, 4001, 48), []);
    assert_eq!(findings(full, 1, 47), [], "nothing was removed");
    assert_eq!(findings(full / 2, 4001, 47), [], "age has removed it");
}
