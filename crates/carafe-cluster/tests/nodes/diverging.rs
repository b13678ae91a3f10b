//! Nodes whose engine does not have any more what they have read.

use std::time::Duration;

use carafe_cluster::{Divergence, Engine, MemoryEngine, Plan, StartError, plan};
use carafe_log::{AppendError, Find, Read};
use tokio::time::{Instant, sleep};

use crate::cable::Line;
use crate::world::{Server, event, nodes, until};

async fn publish(server: &Server, data: &[&str]) {
    for data in data {
        server.publish_one(event("a", data)).await;
    }
}

/// Starts each node again that has stopped, as the program does, and waits until all are equal.
async fn recover(servers: &mut [Server]) {
    for server in &mut *servers {
        server.recover().await;
    }
    for server in servers {
        server.settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_lost_its_tail_stops_the_nodes_that_have_read_it() {
    let engine = MemoryEngine::new("events");
    let mut servers = nodes(&engine, 2).await;
    publish(&servers[0], &["1", "2", "3"]).await;
    let lost = servers[0].publish_one(event("a", "lost")).await.position;
    servers[1].settle().await;
    engine.lose_tail(1);
    for server in &servers {
        assert_eq!(server.diverged().await, Divergence::LostTail { applied: 4, last: 3 });
        let start = Instant::now();
        let answer = server.publish(vec![event("a", "too early")]).await;
        assert_eq!(answer, Err(AppendError::Unavailable));
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
    recover(&mut servers).await;
    let new = servers[0].publish_one(event("a", "new")).await.position;
    servers[1].settle().await;
    for server in &servers {
        assert_eq!(server.data().await, ["1", "2", "3", "new"]);
        assert_eq!(new.offset, lost.offset);
        assert_eq!(server.find(new).await, Find::Found);
        assert_ne!(server.find(lost).await, Find::Found, "the nonce tells them apart");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_tail_is_noticed_although_the_engine_has_gone_on() {
    let engine = MemoryEngine::new("events");
    let mut servers = nodes(&engine, 2).await;
    publish(&servers[0], &["1", "2", "3"]).await;
    servers[1].settle().await;
    servers[1].cable.set(Line::Cut);
    until(|| servers[1].progress().trouble.is_some()).await;
    engine.lose_tail(2);
    servers[0].diverged().await;
    servers[0].recover().await;
    servers[0].settle().await;
    publish(&servers[0], &["two", "three", "four"]).await;
    servers[1].cable.set(Line::Good);
    assert_eq!(servers[1].diverged().await, Divergence::OtherMessage { sequence: 3 });
    recover(&mut servers).await;
    assert_eq!(servers[1].data().await, ["1", "two", "three", "four"]);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_was_restored_is_noticed() {
    let engine = MemoryEngine::new("events");
    let mut servers = nodes(&engine, 1).await;
    publish(&servers[0], &["1", "2"]).await;
    let snapshot = engine.snapshot();
    publish(&servers[0], &["3", "4"]).await;
    engine.restore(&snapshot);
    assert_eq!(servers[0].diverged().await, Divergence::LostTail { applied: 4, last: 2 });
    recover(&mut servers).await;
    assert_eq!(servers[0].data().await, ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_was_created_anew_is_a_new_generation() {
    let engine = MemoryEngine::new("events");
    let mut servers = nodes(&engine, 2).await;
    let old = servers[0].publish_one(event("a", "old")).await.position;
    servers[1].settle().await;
    engine.delete();
    sleep(Duration::from_secs(60)).await;
    for server in &servers {
        assert_eq!(server.progress().stopped, None, "a stream may come back from a backup");
        assert_eq!(server.data().await, ["old"], "history is served");
    }
    engine.recreate();
    let found = engine.state().await.unwrap().identity.generation;
    for server in &servers {
        let why = Divergence::OtherStream { expected: old.generation, found };
        assert_eq!(server.diverged().await, why);
    }
    recover(&mut servers).await;
    let new = servers[0].publish_one(event("a", "new")).await.position;
    servers[1].settle().await;
    for server in &servers {
        assert_eq!(server.data().await, ["new"]);
        assert_eq!(server.find(old).await, Find::Foreign);
        assert_eq!(server.find(new).await, Find::Found);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_retention_has_overtaken_stops_and_begins_behind_the_hole() {
    let engine = MemoryEngine::new("events");
    let mut servers = nodes(&engine, 2).await;
    publish(&servers[0], &["1", "2"]).await;
    servers[1].settle().await;
    servers[1].cable.set(Line::Cut);
    publish(&servers[0], &["3", "4", "5", "6"]).await;
    engine.trim(5);
    servers[1].cable.set(Line::Good);
    assert_eq!(servers[1].diverged().await, Divergence::Overtaken { applied: 2, first: 5 });
    let old = servers[0].entries().await;
    recover(&mut servers).await;
    assert_eq!(servers[1].data().await, ["5", "6"]);
    assert_eq!(servers[1].find(old[3].position).await, Find::Trimmed);
    assert_eq!(servers[1].find(old[4].position).await, Find::Found);
}

#[tokio::test(start_paused = true)]
async fn a_node_without_an_entry_begins_where_the_engine_begins_by_then() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 1).await;
    let start = servers[0].local.span().start;
    for number in 0..300 {
        servers[0].publish_one(event("a", &number.to_string())).await;
    }
    let removed = servers[0].entries().await[100].position;
    let late = Server::start(&engine).await;
    late.local.refuse(usize::MAX);
    until(|| late.progress().counters.retries > 0).await;
    engine.trim(200);
    assert_eq!(late.find(start).await, Find::Found, "nothing is known to be missing yet");
    late.local.refuse(0);
    late.node().filled().await;
    let entries = late.entries().await;
    assert_eq!((entries.len(), entries[0].data()), (101, "199"));
    assert_eq!(late.find(start).await, Find::Trimmed);
    assert_eq!(late.find(removed).await, Find::Trimmed);
    assert_eq!(late.find(entries[0].position).await, Find::Found);
    assert_eq!(late.progress().counters.missing, 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_without_an_entry_is_filled_although_all_messages_are_removed() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 1).await;
    for number in 0..300 {
        servers[0].publish_one(event("a", &number.to_string())).await;
    }
    let late = Server::start(&engine).await;
    engine.trim(301);
    late.node().filled().await;
    assert_eq!((late.progress().applied, late.progress().counters.missing), (300, 0));
    late.publish_one(event("a", "first")).await;
    assert_eq!(late.data().await, ["first"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_retention_overtakes_while_its_tail_is_open_stops() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 1).await;
    servers[0].publish_one(event("a", "applied")).await;
    engine.slow(Duration::ZERO, Duration::from_millis(500));
    for number in 0..5 {
        drop(servers[0].begin(vec![event("a", &number.to_string())]).await);
        sleep(Duration::from_millis(10)).await;
    }
    engine.trim(5);
    assert_eq!(servers[0].diverged().await, Divergence::Overtaken { applied: 1, first: 5 });
}

#[tokio::test(start_paused = true)]
async fn retention_behind_a_node_is_no_divergence() {
    let engine = MemoryEngine::new("events");
    let mut servers = nodes(&engine, 1).await;
    publish(&servers[0], &["1", "2", "3"]).await;
    // All are gone, the newest one included.
    engine.trim(4);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(servers[0].progress().stopped, None);
    servers[0].restart().await;
    publish(&servers[0], &["4"]).await;
    assert_eq!(servers[0].data().await, ["1", "2", "3", "4"]);
}

/// A leader that is cut off from the others says so for some seconds.
#[tokio::test(start_paused = true)]
async fn an_engine_that_is_behind_for_some_seconds_stops_no_node() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 1).await;
    publish(&servers[0], &["1", "2"]).await;
    let behind = engine.snapshot();
    publish(&servers[0], &["3", "4"]).await;
    let whole = engine.snapshot();
    engine.restore(&behind);
    sleep(Duration::from_secs(12)).await;
    let trouble = servers[0].progress().trouble.unwrap();
    assert!(trouble.contains("the engine is asked again"), "{trouble}");
    engine.restore(&whole);
    sleep(Duration::from_secs(30)).await;
    assert_eq!(servers[0].progress().stopped, None);
    publish(&servers[0], &["5"]).await;
    assert_eq!(servers[0].data().await, ["1", "2", "3", "4", "5"]);
}

#[tokio::test(start_paused = true)]
async fn commits_that_take_the_place_of_skipped_messages_are_applied() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 2).await;
    publish(&servers[0], &["1"]).await;
    engine.insert_foreign("2");
    engine.insert_foreign("3");
    servers[1].settle().await;
    servers[1].cable.set(Line::Cut);
    engine.lose_tail(2);
    for data in ["two", "three", "four"] {
        servers[0].publish_in_the_end(event("a", data)).await;
    }
    servers[1].cable.set(Line::Good);
    servers[1].settle().await;
    assert_eq!(servers[1].data().await, servers[0].data().await);
    assert_eq!(servers[1].data().await, ["1", "two", "three", "four"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_log_has_diverged_does_not_start() {
    let engine = MemoryEngine::new("events");
    let mut servers = nodes(&engine, 1).await;
    publish(&servers[0], &["1", "2", "3", "4"]).await;
    let kept = servers[0].entries().await[1].position;
    engine.lose_tail(2);
    let why = Divergence::LostTail { applied: 4, last: 2 };
    assert_eq!(servers[0].try_restart().await, Err(StartError::Diverged(why)));
    let plan = plan(&servers[0].cable, &servers[0].local).await.unwrap();
    assert_eq!(plan, Plan::GoBack { to: kept, why });
}
