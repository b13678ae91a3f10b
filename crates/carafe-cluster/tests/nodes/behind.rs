//! Readers at a node that has not read yet what others have.

use std::time::Duration;

use carafe_cluster::{ClusterOptions, MemoryEngine};
use carafe_hub::{
    Access, Delivery, EraseError, EraseOne, GapReason, PageLimit, Start, Subscribe, SubscribeError,
};
use carafe_log::{ExternalId, Find, ReadError};
use carafe_protocol::TopicMatcher;
use futures_util::StreamExt;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use crate::cable::Line;
use crate::hubs::HubOfNode;
use crate::world::{event, topic, until};

impl HubOfNode {
    /// The data of a page, or the reason of its gap.
    async fn page(&self, start: Start) -> Result<Vec<String>, SubscribeError> {
        let request = Subscribe::to(TopicMatcher::any()).from(start);
        let page = self.hub.page(request, PageLimit::default()).await?;
        let gap = page.gap.map(|gap| format!("{:?}", gap.reason));
        let events = page.events.iter().map(|event| event.data().to_owned());
        Ok(gap.into_iter().chain(events).collect())
    }
}

/// Two nodes, of which the second one does not hear from the engine.
async fn one_and_behind(engine: &MemoryEngine) -> [HubOfNode; 2] {
    let nodes = [HubOfNode::start(engine).await, HubOfNode::start(engine).await];
    nodes[1].cable.set(Line::Silent);
    nodes
}

#[tokio::test(start_paused = true)]
async fn every_read_at_a_node_that_is_behind_waits_for_what_others_have() {
    let engine = MemoryEngine::new("events");
    let [one, two] = one_and_behind(&engine).await;
    let id = ExternalId::new("urn:1").unwrap();
    let named = one.publish(event("a", "named").with_external_id(id)).await;
    let seen = one.publish(event("a", "seen")).await;
    one.publish(event("a", "next")).await;
    engine.slow(Duration::ZERO, Duration::from_millis(300));
    two.cable.set(Line::Good);
    let (to, access) = (topic("a"), Access::public());
    let (page, latest, found, erased, stream) = tokio::join!(
        two.page(Start::After(seen)),
        two.page(Start::LatestAfter(seen)),
        two.hub.find_id("urn:1", &access, None),
        two.hub.erase_one(&to, named, None),
        two.hub.subscribe(Subscribe::to(to.clone()).from(Start::After(seen))),
    );
    assert_eq!((page.unwrap(), latest.unwrap()), (vec!["next".into()], vec!["next".into()]));
    assert_eq!(found, Ok(Some(named)));
    assert!(matches!(erased, Ok(EraseOne::Erased(_))), "{erased:?}");
    let mut stream = stream.unwrap();
    assert_eq!(stream.next().await, Some(Delivery::Position(seen)));
    let Some(Delivery::Entry(entry)) = stream.next().await else { panic!("no event") };
    assert_eq!(entry.data(), "next");
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_readers_that_wait_ask_the_engine_a_few_times() {
    let engine = MemoryEngine::new("events");
    let [one, two] = one_and_behind(&engine).await;
    let position = one.publish(event("a", "")).await;
    two.cable.set(Line::Good);
    engine.slow(Duration::ZERO, Duration::from_millis(500));
    sleep(Duration::from_millis(1)).await;
    let asked = engine.counts();
    let readers = (0..10_000).map(|_| two.hub.log().catch_up());
    assert!(join_all(readers).await.into_iter().all(|caught_up| caught_up.is_ok()));
    assert_eq!(two.hub.log().find(position).await, Ok(Find::Found));
    let questions = engine.counts().states - asked.states;
    assert!((1..=3).contains(&questions), "{questions} for all");
    assert_eq!(engine.counts().gets, asked.gets);
}

#[tokio::test(start_paused = true)]
async fn readers_that_ask_all_the_time_make_the_engine_answer_so_often_only() {
    let engine = MemoryEngine::new("events");
    let node = HubOfNode::start(&engine).await;
    let (asked, start) = (engine.counts().states, Instant::now());
    for _ in 0..500 {
        node.hub.log().catch_up().await.unwrap();
    }
    let questions = u128::from(engine.counts().states - asked);
    assert!(questions <= start.elapsed().as_millis() / 20 + 1, "{questions}");
}

#[tokio::test(start_paused = true)]
async fn a_position_that_the_engine_has_lost_is_a_gap_at_a_node_that_has_never_read_it() {
    let engine = MemoryEngine::new("events");
    let [one, two] = one_and_behind(&engine).await;
    one.publish(event("a", "kept")).await;
    let lost = one.publish(event("a", "lost")).await;
    engine.lose_tail(1);
    two.cable.set(Line::Good);
    let page = two.page(Start::After(lost)).await;
    assert_eq!(page.unwrap(), [format!("{:?}", GapReason::Lost)], "not an empty page for ever");
}

#[tokio::test(start_paused = true)]
async fn while_the_engine_is_away_only_readers_that_are_ahead_are_turned_away() {
    let engine = MemoryEngine::new("events");
    let [one, two] = one_and_behind(&engine).await;
    two.cable.set(Line::Good);
    let known = one.publish(event("a", "1")).await;
    one.publish(event("a", "2")).await;
    until(|| two.hub.position().offset > known.offset).await;
    two.cable.set(Line::Cut);
    let ahead = one.publish(event("a", "3")).await;
    let start = Instant::now();
    assert_eq!(two.page(Start::After(ahead)).await, Err(ReadError::Behind.into()));
    assert_eq!(start.elapsed(), ClusterOptions::default().answer_within);
    let erased = two.hub.erase_one(&topic("a"), ahead, None).await;
    assert_eq!(erased, Err(EraseError::from(ReadError::Behind)));
    let start = Instant::now();
    assert_eq!(two.page(Start::After(known)).await.unwrap(), ["2"]);
    assert_eq!(start.elapsed(), Duration::ZERO, "history is served at once");
}

#[tokio::test(start_paused = true)]
async fn a_node_does_not_wait_for_another_stream_with_the_same_name() {
    let engine = MemoryEngine::new("events");
    let [one, two] = one_and_behind(&engine).await;
    let old = one.publish(event("a", "")).await;
    engine.recreate();
    two.cable.set(Line::Good);
    assert_eq!(two.page(Start::After(old)).await, Err(ReadError::Behind.into()));
}

#[tokio::test(start_paused = true)]
async fn the_beginning_of_an_emptier_node_is_a_position_of_one_that_has_more() {
    let engine = MemoryEngine::new("events");
    let full = HubOfNode::start(&engine).await;
    full.publish(event("a", "1")).await;
    // The engine gives a sequence to what stores nothing, and retention removes it all.
    engine.insert_foreign("not a commit");
    until(|| full.node.progress().applied == 2).await;
    engine.trim(3);
    let empty = HubOfNode::start(&engine).await;
    let beginning = empty.hub.position();
    assert!(beginning.offset > full.hub.position().offset);
    assert_eq!(full.hub.log().find(beginning).await, Ok(Find::Found));
    full.publish(event("a", "2")).await;
    assert_eq!(full.page(Start::After(beginning)).await.unwrap(), ["2"]);
}
