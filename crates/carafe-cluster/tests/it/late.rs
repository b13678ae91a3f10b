//! A copy of a commit that a frozen server forwards when the engine no longer recognizes it.

use std::sync::Arc;
use std::time::Duration;

use carafe_cluster::{ClusterLog, ClusterOptions, Engine, EngineError, LATE, Message, Setup};
use carafe_log::{BlockLimit, Commit, MemoryLimits, MemoryLog, Publication, Read};
use carafe_protocol::{Topic, TopicMatcher};
use carafe_testing::nats::{self, NatsServers};
use rustix::process::Signal;
use serde_json::json;
use tokio::time::timeout;

use crate::servers::{append_message, connect, eventually, start, with};

/// Shorter than it takes to be late, so that the engine does not recognize the copy.
const WINDOW: Duration = Duration::from_secs(10);

/// A server that goes on may take itself for a candidate at first, and lose what it forwards.
const ROUNDS: u64 = 5;

/// What it forwards comes at once.
const WAIT: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn what_a_frozen_server_forwards_late_is_stored_by_the_engine_and_applied_by_no_node() {
    if !nats::is_here(
        "what_a_frozen_server_forwards_late_is_stored_by_the_engine_and_applied_by_no_node",
    ) {
        return;
    }
    let cluster = Cluster::start().await;
    let node = node(&cluster.engine).await;
    for round in 1..=ROUNDS {
        let stored = cluster.forward_late(&format!("event {round}")).await;
        let is_copied = timeout(WAIT, cluster.behind(stored)).await.is_ok();
        let last = cluster.behind(stored - 1).await;
        let has_read = || async { (node.node().progress().applied >= last).then_some(()) };
        eventually("the node has read everything", has_read).await;
        assert_eq!(entries(&node).await as u64, round, "each event once");
        assert_eq!(node.node().progress().counters.late, last - round, "all others are late");
        if is_copied {
            return;
        }
    }
    panic!("in {ROUNDS} rounds, the server has not forwarded what it had");
}

/// Three servers, one of which is going to be frozen.
struct Cluster {
    servers: Arc<NatsServers>,
    follower: usize,
    /// By way of the others.
    engine: Arc<dyn Setup>,
}

impl Cluster {
    async fn start() -> Self {
        let servers = start(3, "").await;
        with(&servers, create_stream).await;
        let leader = with(&servers, |servers| servers.leader("EVENTS")).await;
        let (follower, other) = ((leader + 1) % 3, (leader + 2) % 3);
        let (one, other) = (servers.address(leader), servers.address(other));
        let engine = connect(format!("nats://{one},{other}/EVENTS").parse().unwrap()).await;
        Self { servers, follower, engine }
    }

    /// The last sequence, when it is behind this one. A server that has just become the leader may
    /// not know of all at first.
    async fn behind(&self, sequence: u64) -> u64 {
        let last = || async {
            let last = self.engine.state().await.ok()?.last;
            (last > sequence).then_some(last)
        };
        eventually("there are more messages", last).await
    }

    /// Publishes an event by way of the follower, which is frozen, and then by another server. The
    /// follower goes on much later. Returns the sequence of the event.
    async fn forward_late(&self, data: &str) -> u64 {
        let follower = self.servers.address(self.follower);
        let follower = connect(format!("nats://{follower}/EVENTS").parse().unwrap()).await;
        let sent = eventually("its time", || async { follower.state().await.ok() }).await.now;
        let batch = vec![Publication::new(Topic::new("a").unwrap(), data)];
        let commit = Commit { seed: 7, batches: vec![batch] };
        let message = Message::new(Commit::FORMAT, sent, commit.encode());

        self.servers.signal(self.follower, Signal::STOP);
        let unknown = follower.append(message.clone()).await;
        assert!(matches!(unknown, Err(EngineError::Unavailable(_))), "{unknown:?}");
        let stored = append_message(&self.engine, &message).await;
        let is_late = || async {
            let now = self.engine.state().await.ok()?.now;
            (now > sent + LATE).then_some(())
        };
        eventually("the time has passed", is_late).await;
        self.servers.signal(self.follower, Signal::CONT);
        stored
    }
}

fn create_stream(servers: &NatsServers) {
    servers.create_stream(&json!({
        "name": "EVENTS",
        "subjects": ["carafe.EVENTS"],
        "storage": "file",
        "num_replicas": 3,
        "duplicate_window": WINDOW.as_nanos() as u64,
    }));
}

async fn node(engine: &Arc<dyn Setup>) -> ClusterLog<MemoryLog> {
    let state = eventually("the state", || async { engine.state().await.ok() }).await;
    let started = || async {
        let engine: Arc<dyn Engine> = engine.clone();
        let local = MemoryLog::with_generation(MemoryLimits::default(), state.identity.generation);
        ClusterLog::start(engine, local, ClusterOptions::default()).await.ok()
    };
    eventually("the node starts", started).await
}

async fn entries(node: &ClusterLog<MemoryLog>) -> usize {
    let limit = BlockLimit { entries: usize::MAX, bytes: usize::MAX };
    node.read(0, vec![TopicMatcher::any()], limit).await.unwrap().entries.len()
}
