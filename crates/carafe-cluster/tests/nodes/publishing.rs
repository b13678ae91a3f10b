//! What publishers are answered, and what the engine is sent.

use std::sync::Arc;
use std::time::Duration;

use carafe_cluster::{
    ClusterOptions, DUPLICATE_WINDOW, Engine, LATE, Link, MemoryEngine, Outcome, first_offset,
};
use carafe_log::{Append, AppendError, Commit, Erase, MemoryLimits, Outcome as End, Publication};
use tokio::time::{Instant, sleep};

use crate::cable::Line;
use crate::world::{Server, event, keyed, nodes, topic, until};

const TICK: Duration = Duration::from_millis(10);

/// The sequences and the batches of the engine's commits.
async fn commits(engine: &MemoryEngine) -> Vec<Vec<Vec<Publication>>> {
    let mut commits = Vec::new();
    for sequence in 1..=engine.state().await.unwrap().last {
        let message = engine.get(sequence).await.unwrap().unwrap();
        let commit = Commit::decode(message.commit(Commit::FORMAT).unwrap()).unwrap();
        commits.push(commit.batches);
    }
    commits
}

fn data(batches: &[Vec<Publication>]) -> Vec<&str> {
    batches.iter().flatten().map(Publication::data).collect()
}

#[tokio::test(start_paused = true)]
async fn a_publisher_is_answered_with_the_position_of_every_node_when_its_node_has_the_event() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 2).await;
    let batch = vec![event("a", "one"), event("a", "two")];
    let appended = servers[0].publish(batch).await.unwrap();
    assert_eq!(servers[0].data().await, ["one", "two"], "it reads what it has written");
    let offsets: Vec<_> = appended.iter().map(|appended| appended.position.offset).collect();
    assert_eq!(offsets, [first_offset(1), first_offset(1) + 1]);

    servers[1].settle().await;
    let entries = servers[1].entries().await;
    assert!(entries.iter().map(|entry| entry.position).eq(appended.iter().map(|to| to.position)));
}

#[tokio::test(start_paused = true)]
async fn what_is_published_while_a_commit_is_in_flight_is_one_commit_in_its_order() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 1).await;
    engine.slow(TICK, Duration::ZERO);
    let mut answers = vec![servers[0].begin(vec![event("a", "0")]).await];
    sleep(TICK / 2).await;
    for number in 1..100 {
        answers.push(servers[0].begin(vec![event("a", &number.to_string())]).await);
    }
    for answer in answers {
        answer.await.unwrap().unwrap();
    }
    let commits = commits(&engine).await;
    assert_eq!(commits.len(), 2);
    let in_order: Vec<_> = (1..100).map(|number| number.to_string()).collect();
    assert_eq!(data(&commits[1]), in_order);
    assert_eq!(servers[0].progress().counters.commits, 2);
    assert_eq!(servers[0].progress().counters.batches, 100);
}

// The runtime of the program: what a task wakes last runs next.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn publishers_that_were_answered_together_share_the_next_commit() {
    const EVENTS: u64 = 10;
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 1).await;
    let publisher = |_| {
        let log = Arc::clone(servers[0].log());
        tokio::spawn(async move {
            for _ in 0..EVENTS {
                log.append(vec![event("a", "again")]).await.unwrap();
            }
        })
    };
    // More than the runtime polls in one turn.
    let publishers: Vec<_> = (0..300).map(publisher).collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let counters = servers[0].progress().counters;
    assert_eq!(counters.batches, 300 * EVENTS);
    assert!(counters.commits <= 3 * EVENTS, "{}", counters.commits);
}

#[tokio::test(start_paused = true)]
async fn commits_are_divided_by_the_maximum_size_of_a_message() {
    let engine = MemoryEngine::new("events").with_payload(1000);
    let servers = nodes(&engine, 1).await;
    let mut answers = Vec::new();
    for number in 0..20 {
        let data = format!("{number:0200}");
        answers.push(servers[0].begin(vec![event("a", &data)]).await);
    }
    for answer in answers {
        answer.await.unwrap().unwrap();
    }
    let commits = commits(&engine).await;
    assert!((5..=10).contains(&commits.len()), "{}", commits.len());
    let all: Vec<_> = commits.iter().flat_map(|commit| data(commit)).collect();
    assert!(all.is_sorted(), "{all:?}");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_no_message_holds_is_refused_before_it_is_sent() {
    let engine = MemoryEngine::new("events").with_payload(1000);
    let servers = nodes(&engine, 1).await;
    let fits = "a".repeat(1000 - Commit::HEADER - Commit::size_of(&[event("a", "")]) - 4);
    servers[0].publish_one(event("a", &fits)).await;
    let answer = servers[0].publish(vec![event("a", &"a".repeat(1000))]).await;
    assert!(matches!(answer, Err(AppendError::TooLarge { limit: 1000, .. })), "{answer:?}");
    assert_eq!(engine.counts().appends, 1);
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_bounded() {
    let engine = MemoryEngine::new("events");
    let options = ClusterOptions::default().with_waiting_bytes(10_000);
    let server = Server::start_as(&engine, options).await;
    server.node().filled().await;
    server.cable.set(Line::Silent);
    let mut waiting = Vec::new();
    let refused = loop {
        let answer = server.begin(vec![event("a", &"x".repeat(1000))]).await;
        sleep(TICK).await;
        if answer.is_finished() {
            break answer.await.unwrap();
        }
        waiting.push(answer);
        assert!(waiting.len() < 10);
    };
    assert_eq!(refused, Err(AppendError::Busy));
    assert!(waiting.len() > 5, "{}", waiting.len());
    for answer in waiting {
        assert_eq!(answer.await.unwrap(), Err(AppendError::Unavailable));
    }
    server.cable.set(Line::Good);
    server.publish_in_the_end(event("a", "again")).await;
}

#[tokio::test(start_paused = true)]
async fn a_publisher_learns_within_two_seconds_that_the_engine_is_away() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 1).await;
    for silent in [Line::Silent, Line::Cut] {
        servers[0].cable.set(silent);
        for _ in 0..20 {
            let start = Instant::now();
            let answer = servers[0].publish(vec![event("a", "lost")]).await;
            assert_eq!(answer, Err(AppendError::Unavailable));
            assert!(start.elapsed() <= Duration::from_secs(2), "{:?}", start.elapsed());
            sleep(Duration::from_millis(300)).await;
        }
        servers[0].cable.set(Line::Good);
        servers[0].publish_in_the_end(event("a", "stored")).await;
    }
    assert!(servers[0].progress().counters.unavailable >= 40);
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_outcome_is_unknown_is_sent_again_and_stored_once() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 1).await;
    // The tail is slower than the next attempt: it does not answer for the engine.
    engine.slow(Duration::ZERO, Duration::from_secs(1));
    for outcome in [Outcome::LostRequest, Outcome::LostAnswer] {
        engine.next_appends([outcome, outcome]);
        servers[0].publish_one(event("a", "once")).await;
    }
    assert_eq!(servers[0].data().await, ["once", "once"]);
    assert_eq!(engine.state().await.unwrap().last, 2);
    assert!(servers[0].progress().counters.resent >= 3);
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_the_tail_delivers_is_stored_although_nobody_acknowledged_it() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 1).await;
    engine.next_appends([Outcome::LostAnswer]);
    let start = Instant::now();
    servers[0].publish_one(event("a", "stored")).await;
    servers[0].publish_one(event("a", "next")).await;
    assert!(start.elapsed() < TICK, "nobody waits for the acknowledgement");
    assert_eq!(engine.counts().appends, 2, "it is not sent again");
}

#[tokio::test(start_paused = true)]
async fn later_commits_wait_for_one_whose_outcome_is_unknown() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 1).await;
    engine.next_appends([Outcome::LostRequest]);
    let first = servers[0].begin(vec![event("a", "first")]).await;
    sleep(TICK).await;
    let second = servers[0].begin(vec![event("a", "second")]).await;
    let first = first.await.unwrap().unwrap();
    let second = second.await.unwrap().unwrap();
    assert!(first[0].position.offset < second[0].position.offset);
    assert_eq!(servers[0].data().await, ["first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn a_commit_is_given_up_after_ten_seconds_and_never_sent_later() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 1).await;
    let start = Instant::now();
    engine.next_appends([Outcome::LostRequest; 100]);
    let answer = servers[0].publish(vec![event("a", "given up")]).await;
    assert_eq!(answer, Err(AppendError::Unavailable));
    until(|| servers[0].progress().counters.given_up == 1).await;
    assert!(start.elapsed() <= Duration::from_secs(10), "{:?}", start.elapsed());
    let attempts = engine.counts().appends;
    assert!(attempts >= 4, "{attempts}");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(engine.counts().appends, attempts);
}

/// A server that was frozen has a copy, and the engine no longer recognizes it.
#[tokio::test(start_paused = true)]
async fn a_copy_of_a_commit_that_comes_after_the_duplicate_window_is_skipped_by_every_node() {
    let engine = MemoryEngine::new("events").with_window(DUPLICATE_WINDOW);
    let servers = nodes(&engine, 2).await;
    engine.copy_next_appends(1);
    servers[0].publish_one(event("a", "once")).await;
    sleep(DUPLICATE_WINDOW + TICK).await;
    engine.forward_copies();
    assert_eq!(engine.state().await.unwrap().last, 2, "the engine has it twice");
    servers[1].publish_one(event("a", "after")).await;
    for server in &servers {
        server.settle().await;
        assert_eq!(server.data().await, ["once", "after"]);
        let counters = server.progress().counters;
        assert_eq!((counters.late, counters.skipped), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_was_given_up_is_not_stored_when_it_comes_late() {
    let engine = MemoryEngine::new("events");
    let mut servers = nodes(&engine, 2).await;
    engine.copy_next_appends(1);
    engine.next_appends([Outcome::LostRequest; 100]);
    let answer = servers[0].publish(vec![event("a", "given up")]).await;
    assert_eq!(answer, Err(AppendError::Unavailable));
    until(|| servers[0].progress().counters.given_up == 1).await;
    sleep(LATE).await;
    engine.forward_copies();
    servers[0].settle().await;
    // What is read again is decided in the same way.
    servers[1].restart_empty().await;
    for server in &servers {
        server.settle().await;
        assert_eq!(server.progress().counters.late, 1);
        assert_eq!(server.entries().await, []);
    }
}

/// Its clock is far ahead: commits seem late, until nodes know its time.
#[tokio::test(start_paused = true)]
async fn when_a_server_leads_whose_clock_is_ahead_publishers_are_told_and_soon_publish_again() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 2).await;
    servers[0].publish_one(event("a", "before")).await;
    engine.clock_ahead(2 * LATE);
    let start = Instant::now();
    let answer = servers[0].publish(vec![event("a", "late")]).await;
    assert_eq!(answer, Err(AppendError::Unavailable));
    assert!(start.elapsed() < TICK, "its node knows that it is not stored");
    for server in &servers {
        server.publish_one(event("a", "after")).await;
        server.settle().await;
    }
    assert_eq!(servers[0].data().await, ["before", "after", "after"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_while_nobody_could_be_answered() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 1).await;
    engine.away(true);
    until(|| servers[0].progress().link == Link::Away).await;
    let answer = servers[0].publish(vec![event("a", "not stored")]).await;
    assert_eq!(answer, Err(AppendError::Unavailable));
    engine.away(false);
    servers[0].publish_in_the_end(event("a", "stored")).await;
    assert_eq!(servers[0].data().await, ["stored"]);
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_leaves_has_published() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 1).await;
    servers[0].begin(vec![event("a", "alone")]).await.abort();
    until(|| servers[0].progress().applied == 1).await;
    assert_eq!(servers[0].data().await, ["alone"]);
}

#[tokio::test(start_paused = true)]
async fn closing_waits_for_what_was_published_and_refuses_what_follows() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 1).await;
    engine.slow(Duration::from_millis(300), Duration::from_millis(300));
    let answer = servers[0].begin(vec![event("a", "last")]).await;
    servers[0].log().close().await;
    assert!(answer.await.unwrap().is_ok());
    assert_eq!(servers[0].data().await, ["last"]);
    let answer = servers[0].publish(vec![event("a", "late")]).await;
    assert_eq!(answer, Err(AppendError::Closed));
}

#[tokio::test(start_paused = true)]
async fn closing_does_not_wait_for_an_engine_that_is_away() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 1).await;
    servers[0].cable.set(Line::Silent);
    let answer = servers[0].begin(vec![event("a", "last")]).await;
    let start = Instant::now();
    servers[0].log().close().await;
    assert!(start.elapsed() <= Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(answer.await.unwrap(), Err(AppendError::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_any_node_knows_is_answered_with_the_first_position() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 3).await;
    let first = servers[0].publish_one(keyed("a", "first", "key")).await;
    for server in &servers {
        let again = server.publish_one(keyed("a", "again", "key")).await;
        assert_eq!((again.position, again.repeated), (first.position, true));
    }
    let at_once = [
        servers[1].begin(vec![keyed("a", "one", "other")]).await,
        servers[2].begin(vec![keyed("a", "two", "other")]).await,
    ];
    let [one, two] = at_once.map(|answer| async { answer.await.unwrap().unwrap()[0] });
    let (one, two) = (one.await, two.await);
    assert_eq!(one.position, two.position);
    assert_ne!(one.repeated, two.repeated, "one of them is the first");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_the_same_at_every_node_and_takes_the_whole_batch() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 2).await;
    let end = servers[0].publish_one(Publication::end(topic("a"), End::Done)).await;
    for server in &servers {
        let answer = server.publish(vec![event("b", "not alone"), event("a", "late")]).await;
        let Err(AppendError::Ended { topic: ended, position, .. }) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!((ended, position), (topic("a"), Some(end.position)));
    }
    for server in &servers {
        server.settle().await;
        assert_eq!(server.entries().await.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_the_engine_refuses_is_answered_at_once() {
    let engine = MemoryEngine::new("events");
    let servers = nodes(&engine, 1).await;
    // The node learns of the new limit when it compares itself with the engine.
    let _ = engine.clone().with_payload(100);
    let start = Instant::now();
    let answer = servers[0].publish(vec![event("a", &"x".repeat(200))]).await;
    let Err(AppendError::Refused(why)) = answer else { panic!("{answer:?}") };
    assert!(why.contains("100 bytes"), "{why}");
    assert!(start.elapsed() < TICK);
    assert_eq!(servers[0].progress().counters.refused, 1);
    // An earlier attempt may have stored it: what the engine refuses now says nothing of that.
    engine.next_appends([Outcome::LostRequest]);
    let answer = servers[0].publish(vec![event("a", &"x".repeat(200))]).await;
    assert_eq!(answer, Err(AppendError::Unavailable));
    sleep(Duration::from_secs(15)).await;
    let answer = servers[0].publish(vec![event("a", &"x".repeat(200))]).await;
    assert!(matches!(answer, Err(AppendError::TooLarge { limit: 100, .. })), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn limits_of_a_node_refuse_what_is_published_there_and_nothing_of_other_nodes() {
    let engine = MemoryEngine::new("events");
    let options = ClusterOptions::default().with_erasures(1).with_ended_topics(1);
    let (narrow, wide) = (Server::start_as(&engine, options).await, Server::start(&engine).await);
    let (erase, end) =
        (Publication::erase(topic("a"), Erase::Before), Publication::end(topic("a"), End::Done));
    narrow.local.delay_erasures(1);
    let answer = narrow.publish(vec![event("b", ""), erase.clone()]).await;
    assert_eq!(answer, Err(AppendError::TooManyErasures { limit: 1 }));
    let two = vec![end.clone(), Publication::stop(topic("b"))];
    let answer = narrow.publish(two.clone()).await;
    assert_eq!(answer, Err(AppendError::TooManyEnded { limit: 1 }));

    wide.publish_one(erase).await;
    wide.publish(two).await.unwrap();
    narrow.settle().await;
    assert_eq!(narrow.entries().await.len(), 3);
    let other = Publication::end(topic("c"), End::Done);
    let answer = narrow.publish(vec![other]).await;
    assert_eq!(answer, Err(AppendError::TooManyEnded { limit: 1 }));
    assert!(narrow.publish_one(end).await.repeated, "that takes nothing more");
}

#[tokio::test(start_paused = true)]
async fn a_node_refuses_keys_when_it_remembers_as_many_as_it_may() {
    let engine = MemoryEngine::new("events");
    let limits = MemoryLimits::default().with_entries(10);
    let mut server = Server::start_with(&engine, limits, None).await;
    server.become_with(ClusterOptions::default().with_remembered_keys(3)).await;
    for number in 0..13 {
        server.publish_one(keyed("a", "", &number.to_string())).await;
    }
    let answer = server.publish(vec![keyed("a", "", "one more")]).await;
    assert_eq!(answer, Err(AppendError::TooManyKeys { limit: 3 }));
    server.publish_one(event("a", "without a key")).await;
    // Nothing else is published until the keys are too old to decide.
    sleep(limits.key_window + Duration::from_secs(2 * 3600)).await;
    server.publish_one(keyed("a", "", "one more")).await;
}
