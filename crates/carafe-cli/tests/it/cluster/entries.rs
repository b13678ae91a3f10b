//! Ends, stops, erasures, revocations and compaction are entries of the log: every node applies
//! them.

use std::io::Write;

use carafe_http::auth::Signer;
use carafe_testing::nats::{NatsServers, is_here};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::cli::run;
use crate::http::{Stream, get, post, publish, request};
use crate::process::eventually;

use super::nodes::{Copy, Nodes};

fn two(options: &[&str]) -> Nodes {
    Nodes::start(1, &[Copy::Memory, Copy::Disk], options)
}

/// The data of everything in a topic that a node has, once it has this many events.
fn history(nodes: &Nodes, node: usize, topic: &str, count: usize) -> Vec<String> {
    let target = format!("/events/{topic}?earliest");
    Stream::open(nodes.address(node), &target, &[]).data(count)
}

#[test]
fn a_topic_that_was_ended_at_one_node_has_ended_at_the_other() {
    if !is_here("a_topic_that_was_ended_at_one_node_has_ended_at_the_other") {
        return;
    }
    let nodes = two(&[]);
    publish(nodes.address(0), "/events/jobs/7", "step");
    let ended = post(nodes.address(0), "/events/jobs/7?end=done", "");
    assert!(matches!(ended.status, 200 | 201), "{}", ended.body);
    // Refused by the order of the engine, even if the node has not read the end yet.
    let late = post(nodes.address(1), "/events/jobs/7", "late");
    assert_eq!(late.status, 409, "{}", late.body);
    for node in 0..2 {
        let stream = Stream::open(nodes.address(node), "/events/jobs/7?earliest", &[]);
        let types: Vec<_> = stream.map(|event| event.event_type).collect();
        assert!(types.ends_with(&["message".into(), "carafe.end".into()]), "{types:?}");
    }
}

#[test]
fn a_request_to_stop_at_one_node_reaches_the_producer_at_the_other() {
    if !is_here("a_request_to_stop_at_one_node_reaches_the_producer_at_the_other") {
        return;
    }
    let (nodes, _secret) = two_with_keys();
    publish(nodes.address(0), "/events/jobs/7", "step");
    let mut stream = Stream::open(nodes.address(1), "/events/jobs/7?earliest", &[]);
    assert_eq!(stream.data(1), ["step"]);
    let token = bearer(json!({"publish": ["jobs/*"], "stop": ["jobs/*"]}));
    let stopped = request(nodes.address(0), "POST", "/events/jobs/7?stop", &[&token], b"");
    assert!(matches!(stopped.status, 200 | 201), "{}", stopped.body);
    assert!(stream.any(|event| event.event_type == "carafe.stop"));
}

#[test]
fn an_idempotency_key_of_one_node_is_known_at_the_other() {
    if !is_here("an_idempotency_key_of_one_node_is_known_at_the_other") {
        return;
    }
    let nodes = two(&[]);
    let first = publish(nodes.address(0), "/events/a?id=k", "once");
    let again = post(nodes.address(1), "/events/a?id=k", "twice");
    assert_eq!(again.status, 200, "{}", again.body);
    assert_eq!(again.json()["id"], first.as_str());
    publish(nodes.address(1), "/events/a", "end");
    assert_eq!(history(&nodes, 1, "a", 2), ["once", "end"]);
    assert_eq!(history(&nodes, 0, "a", 2), ["once", "end"]);
}

pub(crate) const SECRET: &str = "a secret of more than thirty-two bytes";

/// The header with a token that expires in a far future.
pub(crate) fn bearer(claims: Value) -> String {
    bearer_until(claims, 4_000_000_000)
}

/// The same with another time, in seconds since 1970.
pub(crate) fn bearer_until(mut claims: Value, expires: u64) -> String {
    claims["exp"] = json!(expires);
    format!("Authorization: Bearer {}", Signer::secret(SECRET).unwrap().sign(&claims).unwrap())
}

fn secret_file() -> NamedTempFile {
    let mut secret = NamedTempFile::new().unwrap();
    secret.write_all(SECRET.as_bytes()).unwrap();
    secret
}

/// Nodes that know tokens.
fn two_with_keys() -> (Nodes, NamedTempFile) {
    let secret = secret_file();
    let nodes = two(&["--secret-file", secret.path().to_str().unwrap()]);
    (nodes, secret)
}

/// The status of a publish with this token.
fn publish_with(token: &str, nodes: &Nodes, node: usize) -> u16 {
    let headers = [token, "Content-Type: text/plain"];
    request(nodes.address(node), "POST", "/events/a", &headers, b"x").status
}

fn revoke_ann(nodes: &Nodes) {
    let headers = [&*bearer(json!({"revoke": true})), "Content-Type: application/json"];
    let body = json!({"subject": "ann"}).to_string();
    let revoked = request(nodes.address(0), "POST", "/revocations", &headers, body.as_bytes());
    assert_eq!(revoked.status, 201, "{}", revoked.body);
}

#[test]
fn a_token_that_was_revoked_at_one_node_is_refused_at_the_other_and_after_a_restart() {
    if !is_here("a_token_that_was_revoked_at_one_node_is_refused_at_the_other") {
        return;
    }
    let (mut nodes, _secret) = two_with_keys();
    let token = bearer(json!({"sub": "ann", "publish": ["*"], "subscribe": ["*"]}));
    let publish = |nodes: &Nodes, node| publish_with(&token, nodes, node);
    let mut stream = Stream::open(nodes.address(1), "/events/a", &[&token]);
    assert_eq!((publish(&nodes, 0), publish(&nodes, 1)), (201, 201));
    revoke_ann(&nodes);
    eventually("the other node refuses the token", || publish(&nodes, 1) == 401);
    assert_ne!(stream.by_ref().last().unwrap().event_type, "message", "its stream has ended");
    // The copy in memory is filled again before the node serves anybody.
    nodes.kill(0);
    nodes.start_node(0);
    eventually("the node has filled", || get(nodes.address(0), "/readyz").status == 200);
    assert_eq!(publish(&nodes, 0), 401);
}

#[test]
fn a_revocation_that_a_copy_trims_while_it_fills_is_in_force() {
    if !is_here("a_revocation_that_a_copy_trims_while_it_fills_is_in_force") {
        return;
    }
    let secret = secret_file();
    let secret = secret.path().to_str().unwrap();
    let small = ["--history-bytes", "128KiB", "--segment-bytes", "4KiB", "--secret-file", secret];
    // The engine keeps more than the node.
    let nats = NatsServers::start(1);
    let url = format!("{}/carafe?replicas=1", nats.url());
    assert!(run(&["cluster", "create", &url], "").status.success());
    let mut nodes = Nodes::on(nats, url, &[Copy::Disk], &small);
    let token = bearer(json!({"sub": "ann", "publish": ["*"]}));
    assert_eq!(publish_with(&token, &nodes, 0), 201);
    revoke_ann(&nodes);
    let data = "x".repeat(4000);
    (0..100).for_each(|_| drop(publish(nodes.address(0), "/events/b", &data)));
    nodes.kill(0);
    std::fs::remove_dir_all(nodes.folder(0)).unwrap();
    nodes.start_node(0);
    eventually("the node has filled", || get(nodes.address(0), "/readyz").status == 200);
    assert_eq!(publish_with(&token, &nodes, 0), 401);
}

#[test]
fn an_event_that_was_erased_at_one_node_is_erased_at_the_other() {
    if !is_here("an_event_that_was_erased_at_one_node_is_erased_at_the_other") {
        return;
    }
    let (nodes, _secret) = two_with_keys();
    let token = bearer(json!({"erase": ["a"]}));
    let secret = publish(nodes.address(0), "/events/a", "a mistake");
    publish(nodes.address(0), "/events/a", "kept");
    let target = format!("/events/a?id={secret}");
    let erased = request(nodes.address(1), "DELETE", &target, &[&token], b"");
    assert!(erased.status < 300, "{}{}", erased.head, erased.body);
    for node in 0..2 {
        eventually("the event is erased at each node", || {
            let page = get(nodes.address(node), "/events/a?earliest&format=json").body;
            !page.contains("a mistake") && page.contains("kept")
        });
    }
}

#[test]
fn an_event_is_erased_by_a_node_that_may_not_have_read_it_yet() {
    if !is_here("an_event_is_erased_by_a_node_that_may_not_have_read_it_yet") {
        return;
    }
    let (nodes, _secret) = two_with_keys();
    let token = bearer(json!({"erase": ["a"]}));
    for number in 0..100 {
        let event = publish(nodes.address(0), "/events/a", &number.to_string());
        let target = format!("/events/a?id={event}");
        let erased = request(nodes.address(1), "DELETE", &target, &[&token], b"");
        assert_eq!(erased.status, 200, "{}{}", erased.head, erased.body);
    }
}

#[test]
fn a_restarted_node_gives_the_same_positions() {
    if !is_here("a_restarted_node_gives_the_same_positions") {
        return;
    }
    let mut nodes = two(&[]);
    let ids: Vec<_> = (0..10)
        .map(|number| publish(nodes.address(number % 2), "/events/a", &number.to_string()))
        .collect();
    for node in 0..2 {
        nodes.stop(node);
        nodes.start_node(node);
        let mut stream = Stream::open(nodes.address(node), "/events/a?earliest", &[]);
        let seen: Vec<_> = (0..10).map(|_| stream.next_published().last_event_id).collect();
        assert_eq!(seen, ids, "node {node}");
    }
}
