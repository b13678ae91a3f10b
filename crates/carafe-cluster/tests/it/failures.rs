//! Servers that die, freeze and come back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use carafe_cluster::{ATTEMPT, ClusterUrl, Created, EngineError, Setup, Tail};
use carafe_testing::nats::{self, NatsServers};
use carafe_testing::process::{free_address, from_env};
use rustix::process::Signal;
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::servers::{
    PATIENCE, append, connect, engine, eventually, message, read, requirements, start, tail, text,
    texts, url, with,
};

/// Whatever the tail has delivered before, it ends with an error.
async fn ends(tail: &mut Box<dyn Tail>) -> EngineError {
    let ended = async {
        loop {
            if let Err(error) = tail.next().await {
                return error;
            }
        }
    };
    timeout(PATIENCE, ended).await.expect("the tail ends within the time limit")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_is_unavailable_and_what_it_has_stored_comes_back_with_it() {
    if !nats::is_here(
        "a_server_that_is_gone_is_unavailable_and_what_it_has_stored_comes_back_with_it",
    ) {
        return;
    }
    let servers = start(1, "").await;
    let engine = engine(&servers, "EVENTS").await;
    append(&engine, "before").await;
    let mut live = tail(&engine, 2).await;
    let before = engine.state().await.unwrap();

    with(&servers, |servers| servers.kill(0)).await;
    let error = ends(&mut live).await;
    assert!(matches!(error, EngineError::Unavailable(_)), "{error}");
    let lost = engine.append(message("lost")).await;
    assert!(matches!(lost, Err(EngineError::Unavailable(_))), "{lost:?}");

    with(&servers, |servers| servers.start_again(0)).await;
    append(&engine, "after").await;
    assert_eq!(engine.state().await.unwrap().identity, before.identity);
    assert_eq!(texts(&read(&engine, 1, 2).await), ["before", "after"]);
}

/// What the frozen server has received, it stores when it goes on: once, although the message was
/// sent several times.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_is_unavailable_and_stores_what_was_sent_again_once() {
    if !nats::is_here("a_frozen_server_is_unavailable_and_stores_what_was_sent_again_once") {
        return;
    }
    let servers = start(1, "").await;
    let engine = engine(&servers, "EVENTS").await;
    append(&engine, "before").await;
    let mut live = tail(&engine, 2).await;
    servers.signal(0, Signal::STOP);
    let again = message("sent again");
    for _ in 0..3 {
        let unknown = engine.append(again.clone()).await;
        assert!(matches!(unknown, Err(EngineError::Unavailable(_))), "{unknown:?}");
    }
    // Its connection is lost, since pings have no answer.
    ends(&mut live).await;
    servers.signal(0, Signal::CONT);
    let goes_on = || async { engine.append(again.clone()).await.ok() };
    assert_eq!(eventually("the server goes on", goes_on).await, 2);
    assert_eq!(append(&engine, "after").await, 3);
    assert_eq!(texts(&read(&engine, 1, 3).await), ["before", "sent again", "after"]);
}

/// A connection is given up when it fails for some seconds, and not for what another one did.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_kept_although_the_one_before_has_failed() {
    if !nats::is_here("a_connection_is_kept_although_the_one_before_has_failed") {
        return;
    }
    let servers = start(1, "").await;
    // It stores, and says so to nobody.
    let silent = json!({ "name": "EVENTS", "subjects": ["carafe.EVENTS"], "no_ack": true });
    with(&servers, move |servers| servers.create_stream(&silent)).await;
    let engine = connect(url(&servers, "EVENTS")).await;
    let unknown = async || {
        let unknown = engine.append(message("unknown")).await;
        assert!(matches!(unknown, Err(EngineError::Unavailable(_))), "{unknown:?}");
    };
    unknown().await;
    engine.renew();
    let mut live = tail(&engine, 1).await;
    sleep(ATTEMPT).await;
    unknown().await;
    for _ in 0..3 {
        let lives = timeout(PATIENCE, live.next()).await.unwrap();
        assert!(lives.is_ok(), "{lives:?}");
    }
}

/// One of the servers that a URL names is enough.
#[tokio::test(flavor = "multi_thread")]
async fn without_any_server_the_engine_is_unavailable_and_with_one_it_works() {
    let nobody = free_address();
    let url: ClusterUrl = format!("nats://{nobody}/EVENTS").parse().unwrap();
    let refused = carafe_cluster::open(url).await.map(drop);
    assert!(matches!(refused, Err(EngineError::Unavailable(_))), "{refused:?}");

    if !nats::is_here("without_any_server_the_engine_is_unavailable_and_with_one_it_works") {
        return;
    }
    let servers = start(1, "").await;
    let (nobody, address) = (free_address(), servers.address(0));
    let engine = connect(format!("nats://{nobody},{address}/EVENTS").parse().unwrap()).await;
    assert_eq!(engine.create(requirements()).await, Ok(Created::New));
    assert_eq!(append(&engine, "first").await, 1);
}

/// Nodes go on with the other servers, and nothing that was acknowledged is lost, doubled or out of
/// order. `CARAFE_TEST_KILLS` repeats it.
#[tokio::test(flavor = "multi_thread")]
async fn of_three_servers_the_leader_may_die_while_nodes_publish() {
    const NODES: usize = 3;
    if !nats::is_here("of_three_servers_the_leader_may_die_while_nodes_publish") {
        return;
    }
    let kills = from_env("CARAFE_TEST_KILLS", 1);
    let (servers, _) = cluster().await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut nodes = Vec::new();
    for node in 0..NODES {
        let (engine, stop) = (connect(engine_url(&servers)).await, Arc::clone(&stop));
        nodes.push(tokio::spawn(async move { publish_until(&engine, node, &stop).await }));
    }
    for _ in 0..kills {
        let kill = |servers: &NatsServers| {
            let leader = servers.leader("EVENTS");
            servers.kill(leader);
            // Until another leads, nothing is stored.
            servers.leader("EVENTS");
            servers.start_again(leader);
            servers.wait_until_healthy();
        };
        with(&servers, kill).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut expected = BTreeMap::new();
    for node in nodes {
        expected.extend(node.await.unwrap());
    }
    let engine = connect(engine_url(&servers)).await;
    let delivered = read(&engine, 1, expected.len()).await;
    let delivered: Vec<_> =
        delivered.iter().map(|stored| (stored.sequence, text(stored))).collect();
    assert_eq!(delivered, expected.into_iter().collect::<Vec<_>>());
}

/// What the node has published, by the sequences that it was told.
async fn publish_until(
    engine: &Arc<dyn Setup>,
    node: usize,
    stop: &AtomicBool,
) -> Vec<(u64, String)> {
    let mut published = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let text = format!("{node} {}", published.len());
        published.push((append(engine, text.clone()).await, text));
    }
    published
}

fn engine_url(servers: &NatsServers) -> ClusterUrl {
    format!("{}/EVENTS?replicas=3", servers.url()).parse().unwrap()
}

/// Three servers, and a stream with a replica on each.
async fn cluster() -> (Arc<NatsServers>, Arc<dyn Setup>) {
    let servers = start(3, "").await;
    let engine = connect(engine_url(&servers)).await;
    let create = || async { engine.create(requirements()).await.ok() };
    assert_eq!(eventually("the stream is created", create).await, Created::New);
    (servers, engine)
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_pass_the_checks_and_one_that_is_down_is_named() {
    if !nats::is_here("three_servers_pass_the_checks_and_one_that_is_down_is_named") {
        return;
    }
    let (servers, engine) = cluster().await;
    let says = |text: String| {
        let engine = Arc::clone(&engine);
        let check = move || {
            let (engine, text) = (Arc::clone(&engine), text.clone());
            async move {
                let findings = engine.check(requirements()).await.ok()?;
                let servers = findings.into_iter().find(|finding| finding.setting == "servers")?;
                servers.text.contains(&text).then_some(())
            }
        };
        eventually("the servers are as they should be", check)
    };
    says("all replicas are up to date".into()).await;
    let kill_follower = |servers: &NatsServers| {
        let follower = (servers.leader("EVENTS") + 1) % 3;
        servers.kill(follower);
        follower
    };
    let follower = with(&servers, kill_follower).await;
    says(format!("n{follower}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_leader_is_replaced_by_another() {
    if !nats::is_here("a_frozen_leader_is_replaced_by_another") {
        return;
    }
    let (servers, engine) = cluster().await;
    append(&engine, "before").await;
    let stop_leader = |servers: &NatsServers| {
        let leader = servers.leader("EVENTS");
        servers.signal(leader, Signal::STOP);
        leader
    };
    let leader = with(&servers, stop_leader).await;
    let sequence = append(&engine, "after").await;
    assert_eq!(sequence, 2);
    servers.signal(leader, Signal::CONT);
    assert_eq!(texts(&read(&engine, 1, 2).await), ["before", "after"]);
}

/// It answers pings, and has no quorum.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lives_and_answers_nothing_is_left_for_another() {
    if !nats::is_here("a_server_that_lives_and_answers_nothing_is_left_for_another") {
        return;
    }
    let (useless, useful) = (start(3, "").await, start(1, "").await);
    let _ = engine(&useful, "EVENTS").await;
    for server in [1, 2] {
        with(&useless, move |servers| servers.kill(server)).await;
    }
    let (one, other) = (useless.address(0), useful.address(0));
    // Each takes one of the two servers first, by chance.
    for _ in 0..6 {
        let url: ClusterUrl = format!("nats://{one},{other}/EVENTS").parse().unwrap();
        let engine = connect(url).await;
        let state = || async { engine.state().await.ok() };
        assert_eq!(eventually("the other server is asked", state).await.last, 0);
    }
}
