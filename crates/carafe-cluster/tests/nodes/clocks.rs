//! Nodes whose clocks are wrong.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use carafe_cluster::{Engine, MemoryEngine};
use carafe_log::{Clock, MemoryLimits, Read, TimeSource};
use tokio::time::{Instant, sleep};

use crate::world::{Server, keyed};

const HOUR: Duration = Duration::from_secs(3600);

/// A clock that runs with the paused time, and is wrong.
struct Wrong {
    epoch: SystemTime,
    start: Instant,
}

impl TimeSource for Wrong {
    fn wall(&self) -> SystemTime {
        self.epoch + self.start.elapsed()
    }

    fn steady(&self) -> Duration {
        self.start.elapsed()
    }
}

fn clock(seconds: u64) -> Clock {
    let epoch = UNIX_EPOCH + Duration::from_secs(seconds);
    Clock::on(Arc::new(Wrong { epoch, start: Instant::now() }))
}

#[tokio::test(start_paused = true)]
async fn nodes_whose_clocks_differ_by_hours_agree_on_times_and_on_the_age_of_keys() {
    let engine = MemoryEngine::new("events");
    let window = Duration::from_secs(60);
    let limits = MemoryLimits::default().with_key_window(window);
    let now = 1_800_000_000;
    let mut servers = Vec::new();
    for seconds in [now, now + 3600, now - 3600] {
        servers.push(Server::start_with(&engine, limits, Some(clock(seconds))).await);
    }
    let mut firsts = Vec::new();
    for (round, server) in servers.iter().enumerate() {
        server.node().filled().await;
        let first = server.publish_one(keyed("a", &round.to_string(), "key")).await;
        assert!(!first.repeated, "the window of the one before has passed");
        sleep(window / 2).await;
        for other in &servers {
            let again = other.publish_one(keyed("a", "again", "key")).await;
            assert_eq!((again.position, again.repeated), (first.position, true));
        }
        firsts.push(first.position);
        sleep(window).await;
    }
    let mut all = Vec::new();
    for server in &servers {
        server.settle().await;
        let entries = server.entries().await;
        assert!(entries.iter().map(|entry| entry.position).eq(firsts.clone()));
        all.push(entries.iter().map(|entry| entry.time).collect::<Vec<_>>());
    }
    assert!(all.iter().all(|times| *times == all[0]), "times are the engine's");
}

/// Whether the time of a node's log is that of the engine, as near as an answer takes.
async fn has_the_time(engine: &MemoryEngine, server: &Server) -> bool {
    let (engine, node) = (engine.state().await.unwrap().now, server.log().clock().now());
    let second = Duration::from_secs(1);
    node <= engine && engine <= node + second
}

/// `retain` and the age of history count by it.
#[tokio::test(start_paused = true)]
async fn a_node_that_starts_while_nothing_is_published_has_the_time_of_the_engine_when_it_is_filled()
 {
    let engine = MemoryEngine::new("events");
    let mut server = Server::start(&engine).await;
    server.node().filled().await;
    server.publish_one(keyed("a", "old", "key")).await;
    sleep(9 * HOUR).await;
    server.restart_empty().await;
    server.node().filled().await;
    assert!(has_the_time(&engine, &server).await);
}
