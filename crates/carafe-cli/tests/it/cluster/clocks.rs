//! Nodes whose clocks are wrong by an hour, or jump while they run. What all nodes decide follows
//! the engine's time, and tokens are checked by the node's own.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use carafe_testing::nats::{NatsServers, is_here};
use rand::RngExt;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::http::{Stream, get, post, publish, request};
use crate::process::{eventually, from_env};

use super::entries::{SECRET, bearer, bearer_until};
use super::load::Load;
use super::nodes::{Copy, Nodes, Place};
use super::wrong_clock::{self, WrongClock};

const COPIES: &[Copy] = &[Copy::Memory, Copy::Disk, Copy::Disk];

/// The clocks of the nodes at first.
const OFFSETS: &[&str] = &["+0", "+1h", "-1h"];

/// Nodes with clocks of their own, which end first.
struct Wrong {
    nodes: Nodes,
    clocks: Vec<WrongClock>,
}

impl Wrong {
    /// `None`: the test `test` is skipped.
    fn start(test: &str, options: &[&str]) -> Option<Self> {
        if !is_here(test) || !wrong_clock::is_here(test) {
            return None;
        }
        let nats = NatsServers::start(1);
        let url = format!("{}/carafe?replicas=1", nats.url());
        let clocks: Vec<_> = OFFSETS.iter().map(|offset| WrongClock::by(offset)).collect();
        let places = COPIES.iter().zip(&clocks).map(|(copy, clock)| {
            Place::new(*copy, &url).with_options(options).run_by(clock.runner())
        });
        let places = places.collect();
        Some(Self { nodes: Nodes::at(nats, url, places), clocks })
    }

    /// All events of a topic that a node shows, with their positions and times.
    fn shown(&self, node: usize, topic: &str) -> Vec<Value> {
        let page = get(self.nodes.address(node), &format!("/events/{topic}?earliest&format=json"));
        page.json()["events"].as_array().unwrap_or_else(|| panic!("{}", page.body)).clone()
    }

    fn each(&self) -> std::ops::Range<usize> {
        0..self.nodes.count()
    }
}

fn is_stored(status: u16) -> bool {
    status == 201
}

#[test]
fn nodes_whose_clocks_are_wrong_by_an_hour_know_the_same_keys_and_ends() {
    let test = "nodes_whose_clocks_are_wrong_by_an_hour_know_the_same_keys_and_ends";
    let Some(mut wrong) = Wrong::start(test, &["--key-window", "10m"]) else { return };
    let nodes = wrong.each();
    let first: Vec<_> = nodes
        .clone()
        .map(|node| publish(wrong.nodes.address(node), &format!("/events/a?id=k{node}"), "once"))
        .collect();
    for node in nodes.clone() {
        let ended = post(wrong.nodes.address(node), &format!("/events/jobs/{node}?end=done"), "");
        assert!(ended.status < 300, "{}", ended.body);
    }
    let check = |wrong: &Wrong, at: usize| {
        for node in wrong.each() {
            let again = post(wrong.nodes.address(at), &format!("/events/a?id=k{node}"), "twice");
            assert_eq!((again.status, again.json()["id"].as_str()), (200, Some(&*first[node])));
            let late = post(wrong.nodes.address(at), &format!("/events/jobs/{node}"), "late");
            assert_eq!(late.status, 409, "{}", late.body);
        }
    };
    for node in nodes.clone() {
        check(&wrong, node);
        // From its copy, or from the engine.
        wrong.nodes.kill(node);
        wrong.nodes.start_node(node);
        check(&wrong, node);
    }
    wrong.clocks[1].jump("-1h");
    wrong.clocks[2].jump("+1d");
    nodes.for_each(|node| check(&wrong, node));
}

#[test]
fn nodes_whose_clocks_are_wrong_by_an_hour_forget_a_key_when_its_window_is_over() {
    let test = "nodes_whose_clocks_are_wrong_by_an_hour_forget_a_key_when_its_window_is_over";
    let Some(wrong) = Wrong::start(test, &["--key-window", "1s"]) else { return };
    for node in wrong.each() {
        let address = wrong.nodes.address(node);
        publish(address, &format!("/events/a{node}?id=k"), "first");
        eventually("the window is over", || {
            is_stored(post(address, &format!("/events/a{node}?id=k"), "second").status)
        });
    }
    for topic in wrong.each().map(|node| format!("a{node}")) {
        for node in wrong.each() {
            let target = format!("/events/{topic}?earliest");
            let data = Stream::open(wrong.nodes.address(node), &target, &[]).data(2);
            assert_eq!(data, ["first", "second"], "{topic} at node {node}");
        }
    }
}

#[test]
fn nodes_whose_clocks_are_wrong_by_an_hour_show_the_same_history() {
    let test = "nodes_whose_clocks_are_wrong_by_an_hour_show_the_same_history";
    let retain = ["--retain", "long/*=10m", "--retain", "brief/*=1s"];
    let Some(wrong) = Wrong::start(test, &retain) else { return };
    for node in wrong.each() {
        for topic in ["long/a", "brief/a", "other"] {
            publish(wrong.nodes.address(node), &format!("/events/{topic}"), "x");
        }
    }
    for topic in ["long/a", "other"] {
        let all = || wrong.each().map(|node| wrong.shown(node, topic));
        eventually("all nodes have all", || all().all(|shown| shown.len() == wrong.nodes.count()));
        let (first, others) = (wrong.shown(0, topic), all().skip(1));
        others.for_each(|shown| assert_eq!(shown, first, "positions and times"));
        for event in first {
            let time: jiff::Timestamp = event["time"].as_str().unwrap().parse().unwrap();
            let age = SystemTime::now().duration_since(time.into()).unwrap_or_default();
            assert!(age < Duration::from_secs(600), "{event}");
        }
    }
    for node in wrong.each() {
        eventually("what is old is hidden", || wrong.shown(node, "brief/a").is_empty());
        assert_eq!(wrong.shown(node, "long/a").len(), wrong.nodes.count());
    }
}

#[test]
fn a_node_checks_tokens_by_its_own_clock_and_keeps_revocations_when_that_jumps() {
    let test = "a_node_checks_tokens_by_its_own_clock_and_keeps_revocations_when_that_jumps";
    let mut secret = NamedTempFile::new().unwrap();
    secret.write_all(SECRET.as_bytes()).unwrap();
    let secret = ["--secret-file", secret.path().to_str().unwrap()];
    let Some(wrong) = Wrong::start(test, &secret) else { return };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = |subject: &str| json!({"sub": subject, "publish": ["*"], "iat": now - 1800});
    let status = |node: usize, token: &str| {
        let headers = [token, "Content-Type: text/plain"];
        request(wrong.nodes.address(node), "POST", "/events/a", &headers, b"x").status
    };
    let soon = bearer_until(claims("bob"), now + 1800);
    assert_eq!([0, 1, 2].map(|node| status(node, &soon)), [201, 401, 201], "exp in half an hour");
    let over = bearer_until(claims("bob"), now - 1800);
    assert_eq!([0, 1, 2].map(|node| status(node, &over)), [401, 401, 201], "half an hour ago");
    // At the node whose clock is behind: the token was issued after the time that it shows.
    let ann = bearer(claims("ann"));
    assert_eq!([0, 1, 2].map(|node| status(node, &ann)), [201; 3]);
    let headers = [&*bearer(json!({"revoke": true})), "Content-Type: application/json"];
    let body = json!({"subject": "ann", "for": 1800}).to_string();
    let revoked =
        request(wrong.nodes.address(2), "POST", "/revocations", &headers, body.as_bytes());
    assert_eq!(revoked.status, 201, "{}", revoked.body);
    let is_refused = || wrong.each().all(|node| status(node, &ann) == 401);
    eventually("each node refuses the token", is_refused);
    wrong.clocks[0].jump("+2h");
    eventually("the clock has jumped", || status(0, &soon) == 401);
    // Long enough to forget what has ended, twice.
    std::thread::sleep(Duration::from_secs(2));
    wrong.clocks[0].jump("+0");
    eventually("the clock is right again", || status(0, &soon) == 201);
    assert!(is_refused(), "the revocation is in force again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_out_of_order_while_clocks_jump() {
    let test = "nothing_is_lost_doubled_or_out_of_order_while_clocks_jump";
    let Some(wrong) = Wrong::start(test, &[]) else { return };
    let load = Load::start(&wrong.nodes, 8, 8);
    let mut random = load.random();
    let jumps = from_env("CARAFE_TEST_CLUSTER_JUMPS", 6);
    for _ in 0..jumps {
        load.deliver(1000).await;
        let node = random.random_range(0..wrong.nodes.count());
        let offset = ["+0", "+1h", "-1h", "+1d", "-30m"][random.random_range(0..5)];
        wrong.clocks[node].jump(offset);
    }
    load.deliver(1000).await;
    load.finish(&format!("{jumps} jumps of clocks")).await;
}
