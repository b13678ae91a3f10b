//! A node that starts makes sure that its engine has lost something, before its log goes back.

use std::sync::Arc;
use std::time::Duration;

use carafe_cluster::{Belief, ClusterLog, ClusterOptions, Engine, MemoryEngine, Plan};
use carafe_log::{Append, MemoryLimits, MemoryLog};
use tokio::time::{Instant, sleep};

use crate::world::event;

const WAIT: Duration = Duration::from_secs(15);

/// An engine with some events, and a log that has them.
async fn engine_and_log() -> (MemoryEngine, MemoryLog) {
    let engine = MemoryEngine::new("events");
    let generation = engine.state().await.unwrap().identity.generation;
    let log = MemoryLog::with_generation(MemoryLimits::default(), generation);
    let options = ClusterOptions::default();
    let node = ClusterLog::start(Arc::new(engine.clone()), log.clone(), options).await.unwrap();
    for number in 0..5 {
        node.append(vec![event("a", &number.to_string())]).await.unwrap();
    }
    (engine, log)
}

#[tokio::test(start_paused = true)]
async fn nothing_is_removed_on_one_answer_of_a_server_that_is_behind() {
    let (engine, log) = engine_and_log().await;
    let newest = engine.snapshot();
    engine.lose_tail(2);
    let behind = engine.clone();
    tokio::spawn(async move {
        sleep(WAIT / 3).await;
        behind.restore(&newest);
    });
    assert_eq!(Belief::default().plan(&engine, &log).await, Ok(Plan::GoOn));
}

#[tokio::test(start_paused = true)]
async fn what_lasts_is_believed() {
    let (engine, log) = engine_and_log().await;
    engine.lose_tail(2);
    assert!(waited_for(&Belief::default(), &engine, &log).await >= WAIT);
}

#[tokio::test(start_paused = true)]
async fn what_was_made_sure_of_says_nothing_about_the_next_difference() {
    for belief in [Belief::default(), Belief::confirmed()] {
        let (engine, log) = engine_and_log().await;
        engine.lose_tail(1);
        waited_for(&belief, &engine, &log).await;
        engine.lose_tail(1);
        assert!(waited_for(&belief, &engine, &log).await >= WAIT);
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_passed_is_made_sure_of_when_it_comes_again() {
    let (engine, log) = engine_and_log().await;
    let (newest, belief) = (engine.snapshot(), Belief::confirmed());
    assert_eq!(belief.plan(&engine, &log).await, Ok(Plan::GoOn));
    for _ in 0..2 {
        engine.lose_tail(2);
        assert!(waited_for(&belief, &engine, &log).await >= WAIT);
        engine.restore(&newest);
        assert_eq!(belief.plan(&engine, &log).await, Ok(Plan::GoOn));
    }
}

/// How long it takes until a log is to go back.
async fn waited_for(belief: &Belief, engine: &MemoryEngine, log: &MemoryLog) -> Duration {
    let start = Instant::now();
    let plan = belief.plan(engine, log).await.unwrap();
    assert!(matches!(plan, Plan::GoBack { .. }), "{plan:?}");
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn what_is_certain_or_was_confirmed_before_needs_no_second_answer() {
    let (engine, log) = engine_and_log().await;
    engine.lose_tail(2);
    let start = Instant::now();
    let plan = Belief::confirmed().plan(&engine, &log).await.unwrap();
    assert!(matches!(plan, Plan::GoBack { .. }), "{plan:?}");
    engine.recreate();
    let plan = Belief::default().plan(&engine, &log).await.unwrap();
    assert!(matches!(plan, Plan::Clear { .. }), "{plan:?}");
    assert!(start.elapsed() < WAIT);
}
