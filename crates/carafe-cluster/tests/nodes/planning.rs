//! How far a log goes back.

use std::sync::Arc;
use std::time::Duration;

use carafe_cluster::{
    ClusterLog, ClusterOptions, Divergence, Engine, MemoryEngine, Plan, StartError, begin_after,
    offset_before, plan,
};
use carafe_log::{Append, DiskLog, DiskOptions, Find, MemoryLimits, MemoryLog, OfflineLog, Read};
use carafe_testing::process::seed;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::sleep;

use crate::cable::Line;
use crate::world::{Server, entries, event, keyed, nodes};

#[tokio::test(start_paused = true)]
async fn the_plan_goes_back_to_the_last_entry_that_both_have() {
    let mut random = StdRng::seed_from_u64(seed());
    for _ in 0..100 {
        let engine = MemoryEngine::new("events");
        let mut servers = nodes(&engine, 1).await;
        for number in 0..random.random_range(1..40) {
            servers[0].publish_one(event("a", &number.to_string())).await;
            if random.random_ratio(1, 4) {
                engine.insert_foreign("not a commit");
            }
        }
        servers[0].settle().await;
        let local = servers[0].local.clone();
        let last = engine.state().await.unwrap().last;
        engine.trim(random.random_range(1..=last));
        engine.lose_tail(random.random_range(0..=last));
        let common: Vec<_> = entries(&local, local.span().start).await;
        let mut kept = None;
        for entry in common {
            let sequence = carafe_cluster::sequence_of(entry.offset());
            let is_kept = sequence + 1 == engine.state().await.unwrap().first
                || engine.get(sequence).await.unwrap().is_some();
            kept = if is_kept { Some(entry.position) } else { kept };
        }
        // Other messages take the sequences of those that are lost.
        let other = Server::start(&engine).await;
        for _ in 0..random.random_range(0..3) {
            other.publish_one(event("b", "other")).await;
        }
        let state = engine.state().await.unwrap();
        let is_whole = kept == Some(local.span().tail);
        match plan(&engine, &local).await.unwrap() {
            Plan::GoOn => assert!(is_whole),
            Plan::GoBack { to, .. } => assert_eq!(Some(to), kept),
            Plan::Clear { generation, after, .. } => {
                assert!(kept.is_none());
                assert_eq!(generation, state.identity.generation);
                assert_eq!(after, begin_after(&state));
            }
        }
        servers.clear();
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_of_another_generation_is_replaced() {
    let engine = MemoryEngine::new("events");
    let generation = engine.state().await.unwrap().identity.generation;
    let log = MemoryLog::default();
    let why = Divergence::OtherStream { expected: log.span().tail.generation, found: generation };
    let found = plan(&engine, &log).await.unwrap();
    assert_eq!(found, Plan::Clear { generation, after: 0, why });

    let log = MemoryLog::with_generation(MemoryLimits::default(), generation);
    assert_eq!(plan(&engine, &log).await.unwrap(), Plan::GoOn);
}

#[tokio::test(start_paused = true)]
async fn an_empty_log_is_never_overtaken() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 1).await;
    for _ in 0..5 {
        servers[0].publish_one(event("a", "")).await;
    }
    engine.trim(4);
    let state = engine.state().await.unwrap();
    assert_eq!(begin_after(&state), offset_before(4));
    let generation = state.identity.generation;
    let log = MemoryLog::with_generation(MemoryLimits::default(), generation);
    assert_eq!(plan(&engine, &log).await.unwrap(), Plan::GoOn);

    // It has begun where the engine ends, and the engine has lost that.
    let log = log.beginning_after(offset_before(6));
    engine.lose_tail(3);
    let why = Divergence::LostTail { applied: 5, last: 2 };
    let after = begin_after(&engine.state().await.unwrap());
    assert_eq!(plan(&engine, &log).await.unwrap(), Plan::Clear { generation, after, why });
}

#[tokio::test]
async fn a_log_on_disk_goes_back_and_is_filled_again() {
    let engine = MemoryEngine::new("events");
    let generation = engine.state().await.unwrap().identity.generation;
    let (folder, options) = (tempfile::tempdir().unwrap(), DiskOptions::default());
    let options = options.with_supplied(generation);
    let open = || DiskLog::open(folder.path(), options).unwrap();
    let start = async |disk| {
        let engine = Arc::new(engine.clone());
        ClusterLog::start(engine, disk, ClusterOptions::default()).await.unwrap()
    };
    let log = start(open()).await;
    for number in 0..6 {
        log.append(vec![event("a", &number.to_string())]).await.unwrap();
    }
    log.close().await;
    drop(log);
    engine.lose_tail(2);

    let disk = open();
    let Plan::GoBack { to, .. } = plan(&engine, &disk).await.unwrap() else {
        panic!("it is known")
    };
    drop(disk);
    OfflineLog::lock(folder.path()).unwrap().go_back(to.offset).unwrap();
    let log = start(open()).await;
    log.append(vec![event("a", "new")]).await.unwrap();
    let entries = entries(&log, log.span().start).await;
    let data: Vec<_> = entries.iter().map(|entry| entry.data()).collect();
    assert_eq!(data, ["0", "1", "2", "3", "new"]);
}

/// The newest commits have stored nothing, and the engine has removed them all.
#[tokio::test(start_paused = true)]
async fn a_node_that_has_applied_only_repeats_at_the_end_is_not_overtaken() {
    let engine = MemoryEngine::new("events");
    let mut servers = nodes(&engine, 1).await;
    servers[0].publish_one(event("a", "other")).await;
    let first = servers[0].publish_one(keyed("a", "kept", "key")).await;
    for _ in 0..5 {
        assert!(servers[0].publish_one(keyed("a", "again", "key")).await.repeated);
    }
    // Until it compares itself with the engine the next time.
    sleep(Duration::from_secs(15)).await;
    engine.trim(8);
    servers[0].restart().await;
    servers[0].settle().await;
    assert_eq!(servers[0].data().await, ["other", "kept"]);
    assert_eq!(servers[0].find(first.position).await, Find::Found);

    // What it has not applied is a hole all the same.
    servers[0].cable.set(Line::Cut);
    let other = Server::start(&engine).await;
    other.publish_one(event("a", "missed")).await;
    engine.trim(9);
    servers[0].cable.set(Line::Good);
    let Err(StartError::Diverged(why)) = servers[0].try_restart().await else { panic!("a hole") };
    assert_eq!(why, Divergence::Overtaken { applied: 7, first: 9 });
}

#[tokio::test]
async fn a_log_on_disk_that_has_applied_only_repeats_at_the_end_is_not_overtaken() {
    let engine = MemoryEngine::new("events");
    let generation = engine.state().await.unwrap().identity.generation;
    let (folder, options) = (tempfile::tempdir().unwrap(), DiskOptions::default());
    let open = || DiskLog::open(folder.path(), options.with_supplied(generation)).unwrap();
    let engine_of_node = Arc::new(engine.clone());
    let log = ClusterLog::start(engine_of_node, open(), ClusterOptions::default()).await.unwrap();
    for _ in 0..3 {
        log.append(vec![keyed("a", "kept", "key")]).await.unwrap();
    }
    log.close().await;
    drop(log);
    engine.trim(4);
    assert_eq!(plan(&engine, &open()).await.unwrap(), Plan::GoOn);
}
