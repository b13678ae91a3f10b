//! How a node follows the engine, whatever its tail does.

use std::time::Duration;

use carafe_cluster::{
    ClusterLog, ClusterOptions, Engine, Fill, Link, MemoryEngine, Message, Stopped, first_offset,
};
use carafe_log::{Append, Commit, Find, MemoryLimits};
use carafe_protocol::Position;
use tokio::time::{Instant, sleep};

use crate::cable::Line;
use crate::world::{Server, event, keyed, nodes, until};

#[tokio::test(start_paused = true)]
async fn a_silent_tail_is_replaced_and_nothing_is_missing() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 2).await;
    servers[1].cable.set(Line::Silent);
    for number in 0..3 {
        servers[0].publish_one(event("a", &number.to_string())).await;
    }
    let start = Instant::now();
    until(|| servers[1].progress().link == Link::Away).await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let trouble = servers[1].progress().trouble;
    assert!(trouble.is_some_and(|why| why.contains("silent")));
    servers[1].cable.set(Line::Good);
    servers[1].settle().await;
    assert_eq!(servers[1].data().await, ["0", "1", "2"]);
    assert_eq!(servers[1].progress().trouble, None);
}

#[tokio::test(start_paused = true)]
async fn a_tail_that_sends_heartbeats_and_no_messages_is_replaced() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 2).await;
    // Messages reach the tails that are open now only much later.
    engine.slow(Duration::ZERO, Duration::from_secs(1_000_000));
    let _ = servers[0].publish(vec![event("a", "stuck")]).await;
    for server in &servers {
        until(|| server.progress().lag() == 1).await;
        until(|| server.progress().trouble.is_some_and(|why| why.contains("does not deliver")))
            .await;
        assert_eq!(server.progress().stopped, None);
    }
}

#[tokio::test(start_paused = true)]
async fn tails_that_break_all_the_time_deliver_everything_once() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 2).await;
    let mut expected = Vec::new();
    for number in 0..200 {
        let data = number.to_string();
        let answer = servers[number % 2].begin(vec![event("a", &data)]).await;
        if number % 3 == 0 {
            engine.break_tails();
        }
        answer.await.unwrap().unwrap();
        expected.push(data);
    }
    for server in &servers {
        server.settle().await;
        assert_eq!(server.data().await, expected);
        assert!(server.progress().counters.tails > 20);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_no_commit_is_skipped_by_every_node() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 2).await;
    servers[0].publish_one(event("a", "before")).await;
    engine.insert_foreign("hello");
    let now = engine.state().await.unwrap().now;
    engine.append(Message::new(Commit::FORMAT, now, "not a commit either")).await.unwrap();
    let after = servers[1].publish_one(event("a", "after")).await;
    assert_eq!(after.position.offset, first_offset(4));
    for server in &servers {
        server.settle().await;
        assert_eq!(server.data().await, ["before", "after"]);
        assert_eq!(server.progress().counters.skipped, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_has_skipped_the_newest_messages_goes_on_after_a_restart() {
    let engine = MemoryEngine::new("events");
    let mut servers = nodes(&engine, 1).await;
    servers[0].publish_one(event("a", "before")).await;
    engine.insert_foreign("hello");
    servers[0].settle().await;
    servers[0].restart().await;
    servers[0].settle().await;
    servers[0].publish_one(event("a", "after")).await;
    assert_eq!(servers[0].data().await, ["before", "after"]);
}

#[tokio::test(start_paused = true)]
async fn a_commit_in_a_newer_format_stops_the_node_behind_what_it_knows() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 1).await;
    servers[0].publish_one(event("a", "known")).await;
    let (format, sequence) = (Commit::FORMAT + 1, 2);
    let now = engine.state().await.unwrap().now;
    engine.append(Message::new(format, now, "?")).await.unwrap();
    let stopped = servers[0].node().stopped().await;
    assert_eq!(stopped, Stopped::Newer { sequence, format });
    assert!(stopped.to_string().contains("upgrade this node"));
    let start = Instant::now();
    let answer = servers[0].publish(vec![event("a", "unknown")]).await;
    assert_eq!(answer, Err(carafe_log::AppendError::Unavailable));
    assert_eq!(start.elapsed(), Duration::ZERO, "a node that has stopped says so at once");
    assert_eq!(servers[0].data().await, ["known"]);
}

#[tokio::test(start_paused = true)]
async fn a_local_log_that_refuses_for_a_while_gets_everything_in_order() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 2).await;
    servers[1].local.refuse(5);
    let expected: Vec<_> = (0..10).map(|number| number.to_string()).collect();
    for data in &expected {
        servers[0].publish_one(event("a", data)).await;
    }
    servers[1].settle().await;
    assert_eq!(servers[1].data().await, expected);
    assert_eq!(servers[1].progress().counters.retries, 5);
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_log_stores_nothing_asks_the_engine_once_per_second_at_most() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 2).await;
    servers[1].local.refuse(usize::MAX);
    servers[0].publish_one(event("a", "waits")).await;
    let before = engine.counts();
    sleep(Duration::from_secs(100)).await;
    let tails = engine.counts().tails - before.tails;
    assert!((90..=105).contains(&tails), "{tails} tails in 100 seconds");
    assert_eq!(servers[1].progress().link, Link::Away);
    servers[1].local.refuse(0);
    servers[1].settle().await;
    assert_eq!(servers[1].data().await, ["waits"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_local_log_has_stored_is_not_stored_again_although_it_said_that_it_failed() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 2).await;
    servers[1].local.lose_answers(3);
    let expected: Vec<_> = (0..10).map(|number| number.to_string()).collect();
    for data in &expected {
        servers[0].publish_one(event("a", data)).await;
        servers[1].settle().await;
    }
    assert_eq!(servers[1].data().await, expected);
    assert_eq!(servers[1].progress().counters.retries, 3, "and not more");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_starts_empty_reports_how_far_it_is_filled() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 1).await;
    let expected: Vec<_> = (0..500).map(|number| number.to_string()).collect();
    for data in &expected {
        servers[0].publish_one(event("a", data)).await;
    }
    let late = Server::start(&engine).await;
    assert_eq!(late.progress().link, Link::Connecting);
    late.cable.set(Line::Silent);
    sleep(Duration::from_millis(1)).await;
    assert!(!late.progress().is_filled);
    late.cable.set(Line::Good);
    late.node().filled().await;
    let progress = late.progress();
    assert_eq!(progress.fill, Some(Fill { from: 1, to: 500 }));
    assert_eq!((progress.applied, progress.lag()), (500, 0));
    assert_eq!(progress.counters.applied_commits, 500);
    assert_eq!(late.data().await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_starts_empty_behind_trimmed_history_says_that_it_is_trimmed() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 1).await;
    let mut positions = Vec::new();
    for number in 0..10 {
        positions.push(servers[0].publish_one(event("a", &number.to_string())).await.position);
    }
    engine.trim(6);
    let late = Server::start(&engine).await;
    late.settle().await;
    assert_eq!(late.data().await, ["5", "6", "7", "8", "9"]);
    let start = Position { offset: 0, nonce: 0, ..positions[0] };
    for position in [start, positions[0], positions[4]] {
        assert_eq!(late.find(position).await, Find::Trimmed);
    }
    for position in &positions[5..] {
        assert_eq!(late.find(*position).await, Find::Found);
    }
}

#[tokio::test(start_paused = true)]
async fn a_position_that_a_node_does_not_have_yet_is_ahead() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 2).await;
    servers[1].cable.set(Line::Silent);
    let position = servers[0].publish_one(event("a", "")).await.position;
    assert_eq!(servers[1].find(position).await, Find::Ahead);
    servers[1].cable.set(Line::Good);
    servers[1].settle().await;
    assert_eq!(servers[1].find(position).await, Find::Found);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_somebody_removed_is_a_hole_for_whoever_has_not_read_it() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 1).await;
    for number in 0..5 {
        servers[0].publish_one(event("a", &number.to_string())).await;
    }
    engine.remove(3);
    let late = Server::start(&engine).await;
    late.settle().await;
    assert_eq!(late.data().await, ["0", "1", "3", "4"]);
    assert_eq!(late.progress().counters.missing, 1);
}

#[tokio::test(start_paused = true)]
async fn a_hole_of_any_size_costs_the_engine_a_few_requests() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 1).await;
    for number in 0..1000 {
        servers[0].publish_one(event("a", &number.to_string())).await;
    }
    (2..1000).for_each(|sequence| engine.remove(sequence));
    let before = engine.counts();
    let late = Server::start(&engine).await;
    late.settle().await;
    assert_eq!(late.data().await, ["0", "999"]);
    assert_eq!(late.progress().counters.missing, 998);
    let after = engine.counts();
    let requests = after.gets + after.states - before.gets - before.states;
    assert!(requests < 10, "{requests} requests");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_only_the_tail_lacks_is_read_from_the_engine() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 2).await;
    servers[1].cable.leave_out(3);
    let expected: Vec<_> = (1..6).map(|number| number.to_string()).collect();
    for data in &expected {
        servers[0].publish_one(event("a", data)).await;
    }
    servers[1].settle().await;
    assert_eq!(servers[1].data().await, expected);
    assert_eq!(servers[1].progress().counters.missing, 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_sends_nothing_before_it_has_applied_what_came_while_it_was_away() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 2).await;
    servers[1].cable.set(Line::Cut);
    until(|| servers[1].progress().link == Link::Away).await;
    for number in 0..200 {
        servers[0].publish_one(event("a", &number.to_string())).await;
    }
    // It stores one append of several messages, and then nothing for some time.
    servers[1].local.refuse_after(1);
    let appends = engine.counts().appends;
    servers[1].cable.set(Line::Good);
    until(|| servers[1].progress().applied >= 64).await;
    assert!(!servers[1].progress().is_caught_up);
    let answer = servers[1].publish(vec![event("a", "too early")]).await;
    assert_eq!(answer, Err(carafe_log::AppendError::Unavailable));
    assert_eq!(engine.counts().appends, appends, "nobody could be answered");
    servers[1].local.refuse(0);
    servers[1].settle().await;
    assert!(servers[1].progress().is_caught_up);
    servers[1].publish_one(event("a", "now")).await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_task_stops_the_node() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 1).await;
    servers[0].local.panic();
    let answer = servers[0].publish(vec![event("a", "fatal")]).await;
    assert_eq!(answer, Err(carafe_log::AppendError::Unavailable));
    assert_eq!(servers[0].node().stopped().await, Stopped::Panicked);
}

#[tokio::test(start_paused = true)]
async fn a_node_tells_how_many_keys_it_remembers_that_have_left_its_history() {
    let engine = MemoryEngine::new("events");
    let (hour, window) = (Duration::from_secs(3600), Duration::from_secs(100));
    let limits = MemoryLimits::default().with_entries(10).with_key_window(window);
    let server = Server::start_with(&engine, limits, None).await;
    for number in 0..13 {
        server.publish_one(keyed("a", "", &number.to_string())).await;
    }
    sleep(Duration::from_secs(15)).await;
    assert_eq!(server.progress().remembered_keys, 3);
    sleep(hour + window).await;
    server.publish_one(event("a", "")).await;
    sleep(Duration::from_secs(15)).await;
    assert_eq!(server.progress().remembered_keys, 0, "they are older than the window");
}

#[tokio::test(start_paused = true)]
async fn a_node_is_filled_although_the_newest_message_was_removed() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 1).await;
    for number in 0..5 {
        servers[0].publish_one(event("a", &number.to_string())).await;
    }
    engine.remove(5);
    let late = Server::start(&engine).await;
    late.node().filled().await;
    assert_eq!((late.progress().applied, late.progress().counters.missing), (5, 1));
    let next = late.publish_one(event("a", "next")).await;
    assert_eq!(next.position.offset, first_offset(6));
}

#[tokio::test(start_paused = true)]
async fn an_idle_node_asks_the_engine_seldom() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 1).await;
    servers[0].publish_one(event("a", "")).await;
    let before = engine.counts();
    sleep(Duration::from_secs(600)).await;
    let after = engine.counts();
    assert_eq!(after.tails, before.tails, "one tail is enough");
    let states = after.states - before.states;
    assert!((50..=62).contains(&states), "{states} comparisons in ten minutes");
    assert_eq!(after.gets - before.gets, states);
}

#[tokio::test(start_paused = true)]
async fn the_tasks_of_a_node_end_with_its_log() {
    let engine = MemoryEngine::new("events");
    let mut servers = nodes(&engine, 1).await;
    servers[0].publish_one(event("a", "")).await;
    drop(servers.pop());
    sleep(Duration::from_secs(1)).await;
    let before = engine.counts();
    sleep(Duration::from_secs(600)).await;
    assert_eq!(engine.counts(), before);
}

#[tokio::test]
async fn the_log_of_a_node_may_be_on_disk() {
    let engine = MemoryEngine::new("events");
    let generation = engine.state().await.unwrap().identity.generation;
    let folder = tempfile::tempdir().unwrap();
    let options = carafe_log::DiskOptions::default().with_supplied(generation);
    let mut given = Vec::new();
    for life in 0..3 {
        let disk = carafe_log::DiskLog::open(folder.path(), options).unwrap();
        let log =
            ClusterLog::start(std::sync::Arc::new(engine.clone()), disk, ClusterOptions::default());
        let log = log.await.unwrap();
        for number in 0..5 {
            let batch = vec![event("a", &format!("{life}.{number}"))];
            given.push(log.append(batch).await.unwrap()[0].position);
        }
        log.close().await;
    }
    let memory = Server::start_with(&engine, MemoryLimits::default(), None).await;
    memory.settle().await;
    let entries = memory.entries().await;
    assert!(entries.iter().map(|entry| entry.position).eq(given));
}
