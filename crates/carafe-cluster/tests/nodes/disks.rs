//! Nodes whose logs are on disk, and that go back on it when the engine has lost events.

use std::sync::Arc;
use std::time::Duration;

use carafe_cluster::{
    ClusterLog, ClusterOptions, Engine, Link, MemoryEngine, Plan, begin_after, plan,
};
use carafe_log::{Append, AppendError, DiskLog, DiskOptions, OfflineLog, Read};
use carafe_testing::process::seed;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::reference::{Expected, Reference};
use crate::world::{entries, event, keyed};

/// Longer than a history lasts.
const KEY_WINDOW: Duration = Duration::from_secs(3600);

/// Longer than anything takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

struct DiskNode {
    engine: MemoryEngine,
    folder: TempDir,
    log: Option<ClusterLog<DiskLog>>,
    options: DiskOptions,
    /// How often the log went back, and began anew.
    went_back: usize,
    cleared: usize,
}

impl DiskNode {
    async fn start(engine: &MemoryEngine) -> Self {
        Self::start_with(engine, DiskOptions::default().with_bytes(16 << 20)).await
    }

    async fn start_with(engine: &MemoryEngine, options: DiskOptions) -> Self {
        let (engine, folder) = (engine.clone(), tempfile::tempdir().unwrap());
        let options = options.with_key_window(KEY_WINDOW);
        let mut node = Self { engine, folder, log: None, options, went_back: 0, cleared: 0 };
        node.restart().await;
        node
    }

    fn log(&self) -> &ClusterLog<DiskLog> {
        self.log.as_ref().unwrap()
    }

    /// Ends the node, does to its log what the plan says, and starts it again.
    async fn restart(&mut self) {
        if let Some(log) = self.log.take() {
            log.close().await;
        }
        let log = loop {
            let disk = self.open().await;
            let plan = plan(&self.engine, &disk).await.unwrap();
            if plan == Plan::GoOn {
                let engine = Arc::new(self.engine.clone());
                break ClusterLog::start(engine, disk, ClusterOptions::default()).await.unwrap();
            }
            drop(disk);
            self.follow(plan);
        };
        log.node().filled().await;
        self.log = Some(log);
    }

    /// The node is down for some time.
    async fn restart_after(&mut self, time: Duration) {
        self.log.take().unwrap().close().await;
        sleep(time).await;
        self.restart().await;
    }

    async fn open(&self) -> DiskLog {
        let state = self.engine.state().await.unwrap();
        let options = self
            .options
            .with_supplied(state.identity.generation)
            .beginning_after(begin_after(&state));
        DiskLog::open(self.folder.path(), options).unwrap()
    }

    fn follow(&mut self, plan: Plan) {
        let offline = OfflineLog::lock(self.folder.path()).unwrap();
        if let Plan::GoBack { to, .. } = plan {
            offline.go_back(to.offset).unwrap();
            self.went_back += 1;
        } else {
            offline.clear().unwrap();
            self.cleared += 1;
        }
    }

    /// Starts the node again if it has stopped since the engine lost something.
    async fn recover(&mut self, tails: u64) {
        let node = self.log().node();
        let is_settled = || {
            let progress = node.progress();
            let follows = progress.link == Link::Following && progress.counters.tails > tails;
            progress.stopped.is_some() || follows
        };
        eventually(is_settled).await;
        if node.progress().stopped.is_some() {
            self.restart().await;
        }
    }
}

async fn eventually(is_so: impl Fn() -> bool) {
    let so = async {
        while !is_so() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, so).await.unwrap();
}

/// Publishes at several nodes at once.
async fn publish(nodes: &[DiskNode], random: &mut StdRng, number: &mut usize) {
    let mut batches = Vec::new();
    for _ in 0..random.random_range(1..6) {
        *number += 1;
        let node = &nodes[random.random_range(0..nodes.len())];
        let (data, key) = (format!("event {number}"), format!("key {}", random.random_range(0..9)));
        let is_keyed = random.random_ratio(1, 3);
        let publication = if is_keyed { keyed("a", &data, &key) } else { event("b", &data) };
        batches.push(node.log().append(vec![publication]));
    }
    for answer in futures_util::future::join_all(batches).await {
        let is_known = matches!(answer, Ok(_) | Err(AppendError::Unavailable));
        assert!(is_known, "{answer:?}");
    }
}

/// With paused time, what is stored on disk may take seconds or nothing: a publisher may be
/// answered too early that the engine is away.
#[tokio::test(start_paused = true)]
async fn logs_on_disk_come_to_what_the_engine_has_whatever_it_loses() {
    let mut random = StdRng::seed_from_u64(seed());
    let (mut went_back, mut cleared, mut number) = (0, 0, 0);
    for _ in 0..3 {
        let engine = MemoryEngine::new("events");
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(DiskNode::start(&engine).await);
        }
        for _ in 0..12 {
            for _ in 0..random.random_range(1..10) {
                publish(&nodes, &mut random, &mut number).await;
            }
            let tails: Vec<_> =
                nodes.iter().map(|node| node.log().node().progress().counters.tails).collect();
            match random.random_range(0..8) {
                0 => engine.lose_tail(1_000_000),
                1..5 => engine.lose_tail(random.random_range(1..6)),
                _ => {
                    let node = random.random_range(0..nodes.len());
                    nodes[node].restart().await;
                    continue;
                }
            }
            for (node, tails) in nodes.iter_mut().zip(tails) {
                node.recover(tails).await;
            }
        }
        publish(&nodes, &mut random, &mut number).await;
        let last = engine.state().await.unwrap().last;
        let reference = Reference::of(&engine, KEY_WINDOW).await;
        for node in &nodes {
            eventually(|| node.log().node().progress().applied >= last).await;
            let stored = entries(node.log(), node.log().span().start).await;
            let stored: Vec<_> = stored.iter().map(|entry| Expected::of(entry)).collect();
            assert_eq!(stored, reference.entries);
            (went_back, cleared) = (went_back + node.went_back, cleared + node.cleared);
        }
    }
    println!("logs went back {went_back} times, and were cleared {cleared} times");
    assert!(went_back > 0);
}

#[tokio::test(start_paused = true)]
async fn a_log_on_disk_that_is_opened_again_while_nothing_is_published_has_the_time_of_the_engine()
{
    let engine = MemoryEngine::new("events");
    let mut node = DiskNode::start(&engine).await;
    let mut number = 0;
    publish(std::slice::from_ref(&node), &mut StdRng::seed_from_u64(seed()), &mut number).await;
    eventually(|| node.log().node().progress().applied > 0).await;
    let (old, day) = (node.log().clock().now(), Duration::from_secs(24 * 3600));
    node.restart_after(day).await;
    assert!(node.log().clock().now() >= old + day);
}

/// What it knows of trimmed entries is in memory alone.
#[tokio::test]
async fn a_log_on_disk_that_is_shorter_than_the_key_window_is_filled_again_at_each_start() {
    let (engine, data) = (MemoryEngine::new("events"), "x".repeat(500));
    let short = DiskOptions::default().with_bytes(64 << 10).with_segment_bytes(4 << 10);
    let mut node = DiskNode::start_with(&engine, short).await;
    for number in 0..300 {
        let answer = node.log().append(vec![keyed("a", &data, &number.to_string())]).await;
        assert!(!answer.unwrap()[0].repeated);
    }
    for start in 1..=2 {
        eventually(|| node.log().span().start.offset > 0).await;
        node.restart().await;
        assert_eq!((node.cleared, node.went_back), (start, 0));
        let answer = node.log().append(vec![keyed("a", &data, "0")]).await;
        assert!(answer.unwrap()[0].repeated, "the key of a trimmed entry");
    }
}
