//! Hubs on the logs of several nodes.

use std::sync::{Arc, Mutex};

use carafe_cluster::{ClusterLog, ClusterOptions, Engine, MemoryEngine, Node, begin_after};
use carafe_hub::{
    Access, Delivery, EraseOne, GapReason, Hub, PublishError, Start, Subscribe, Subscription,
};
use carafe_log::{AppendError, Entry, MemoryLimits, MemoryLog, Outcome, Publication};
use carafe_protocol::{Position, TopicMatcher};
use futures_util::StreamExt;

use crate::cable::Cable;
use crate::world::{event, keyed, topic, until};

/// A hub on the log of a node.
pub(crate) struct HubOfNode {
    pub(crate) cable: Cable,
    pub(crate) hub: Hub,
    pub(crate) node: Node,
}

impl HubOfNode {
    pub(crate) async fn start(engine: &MemoryEngine) -> Self {
        let state = engine.state().await.unwrap();
        let local = MemoryLog::with_generation(MemoryLimits::default(), state.identity.generation)
            .beginning_after(begin_after(&state));
        let (cable, options) = (Cable::to(engine), ClusterOptions::default());
        let log = ClusterLog::start(Arc::new(cable.clone()), local, options).await.unwrap();
        let node = log.node();
        node.filled().await;
        Self { cable, hub: Hub::new(log), node }
    }

    pub(crate) async fn publish(&self, publication: Publication) -> Position {
        self.hub.publish(publication).await.unwrap().position
    }

    async fn subscribe(&self, start: Start) -> Subscription {
        let request = Subscribe::to(TopicMatcher::any()).from(start);
        self.hub.subscribe(request).await.unwrap()
    }

    /// Waits until the node has what another one has acknowledged.
    async fn reach(&self, position: Position) {
        until(|| self.hub.position().offset >= position.offset).await;
    }
}

async fn hubs(engine: &MemoryEngine) -> [HubOfNode; 2] {
    [HubOfNode::start(engine).await, HubOfNode::start(engine).await]
}

/// What is delivered next, without positions of the stream.
async fn next(subscription: &mut Subscription) -> Delivery {
    loop {
        match subscription.next().await.unwrap() {
            Delivery::Position(_) => {}
            delivery => return delivery,
        }
    }
}

async fn next_data(subscription: &mut Subscription) -> String {
    match next(subscription).await {
        Delivery::Entry(entry) => entry.data().to_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_receives_what_is_published_at_any_node() {
    let [one, two] = hubs(&MemoryEngine::new("events")).await;
    let mut subscriptions = [one.subscribe(Start::Tail).await, two.subscribe(Start::Tail).await];
    one.publish(event("a", "at one")).await;
    two.publish(event("b", "at two")).await;
    for subscription in &mut subscriptions {
        assert_eq!(next_data(subscription).await, "at one");
        assert_eq!(next_data(subscription).await, "at two");
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_resumes_at_another_node_where_it_stopped_at_this_one() {
    let [one, two] = hubs(&MemoryEngine::new("events")).await;
    let mut subscription = one.subscribe(Start::Tail).await;
    let mut position = None;
    for number in 0..5 {
        one.publish(event("a", &number.to_string())).await;
        let Delivery::Entry(entry) = next(&mut subscription).await else { panic!("no event") };
        position = Some(entry.position);
    }
    for number in 5..10 {
        two.publish(event("a", &number.to_string())).await;
    }
    let mut resumed = two.subscribe(Start::After(position.unwrap())).await;
    for number in 5..10 {
        assert_eq!(next_data(&mut resumed).await, number.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn a_position_before_any_event_resumes_at_another_node() {
    let engine = MemoryEngine::new("events");
    let [one, two] = hubs(&engine).await;
    let start = one.hub.position();
    two.publish(event("a", "first")).await;
    let mut resumed = two.subscribe(Start::After(start)).await;
    assert_eq!(next_data(&mut resumed).await, "first");
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_ends_at_one_node_has_ended_at_all() {
    let [one, two] = hubs(&MemoryEngine::new("events")).await;
    let mut subscription = two.hub.subscribe(topic("jobs/7")).await.unwrap();
    two.hub.stop(topic("jobs/7")).await.unwrap();
    let end = one.hub.end(topic("jobs/7"), Outcome::Done).await.unwrap();
    assert!(matches!(next(&mut subscription).await, Delivery::Stop(_)));
    assert!(matches!(next(&mut subscription).await, Delivery::End(_)));
    assert!(subscription.next().await.is_none(), "a stream of ended topics ends");
    let late = two.hub.publish(event("jobs/7", "late")).await;
    let Err(PublishError::Append(AppendError::Ended { position, .. })) = late else {
        panic!("{late:?}")
    };
    assert_eq!(position, Some(end.position));
    assert!(two.hub.end(topic("jobs/7"), Outcome::Done).await.unwrap().repeated);

    one.publish(event("jobs/7", "again").with_reopening(true)).await;
    let reopened = two.publish(event("jobs/7", "more")).await;
    assert!(reopened.offset > end.position.offset);
    assert_eq!(two.hub.topic_state(&topic("jobs/7")).end, None);
}

#[tokio::test(start_paused = true)]
async fn an_erasure_at_one_node_erases_at_all() {
    let [one, two] = hubs(&MemoryEngine::new("events")).await;
    let start = two.hub.position();
    let first = one.publish(event("users/7", "secret")).await;
    let kept = one.publish(event("users/8", "kept")).await;
    two.reach(kept).await;
    let erasure = one.hub.erase(topic("users/7")).await.unwrap();
    two.reach(erasure).await;
    let mut resumed = two.subscribe(Start::After(start)).await;
    let Delivery::Gap(gap) = next(&mut resumed).await else { panic!("no gap") };
    assert_eq!((gap.reason, gap.resume_after), (GapReason::Erased, first));
    assert_eq!(next_data(&mut resumed).await, "kept");

    let one_event = two.hub.erase_one(&topic("users/8"), kept, None).await.unwrap();
    let EraseOne::Erased(erasure) = one_event else { panic!("{one_event:?}") };
    one.reach(erasure).await;
    let again = one.hub.erase_one(&topic("users/8"), kept, None).await.unwrap();
    assert_eq!(again, EraseOne::ErasedBefore);
}

/// Revocations are such entries.
#[tokio::test(start_paused = true)]
async fn what_a_hub_notes_for_itself_reaches_those_who_follow_any_node_and_no_subscriber() {
    let [one, two] = hubs(&MemoryEngine::new("events")).await;
    let noted = Arc::new(Mutex::new(Vec::new()));
    let follower = Arc::clone(&noted);
    drop(two.hub.log().follow(
        0,
        Box::new(move |entries: &[Arc<Entry>]| follower.lock().unwrap().extend_from_slice(entries)),
    ));
    let request = Subscribe::to(TopicMatcher::any()).with_access(Access::all());
    let mut subscription = two.hub.subscribe(request).await.unwrap();
    let note = event("carafe/revocations", "{}").with_private(true).with_hub(true);
    let position = one.publish(note).await;
    one.publish(event("a", "public")).await;
    assert_eq!(next_data(&mut subscription).await, "public");
    let noted = noted.lock().unwrap();
    assert!(noted[0].publication.is_internal() && noted[0].publication.is_private());
    assert_eq!((noted[0].position, noted[0].data()), (position, "{}"));
}

#[tokio::test(start_paused = true)]
async fn a_publication_has_what_its_publisher_gave_it_at_every_node() {
    let [one, two] = hubs(&MemoryEngine::new("events")).await;
    let publication = keyed("a", "line\nline", "key")
        .with_alternates([topic("b"), topic("c")])
        .with_type(carafe_protocol::EventType::new("tick").unwrap())
        .with_retry(std::time::Duration::from_millis(1234))
        .with_private(true);
    let access = Subscribe::to(topic("c")).with_access(Access::all());
    let mut subscription = two.hub.subscribe(access).await.unwrap();
    let position = one.publish(publication.clone()).await;
    let Delivery::Entry(entry) = next(&mut subscription).await else { panic!("no event") };
    assert_eq!((entry.position, &entry.publication), (position, &publication));
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_is_closed_ends_its_node() {
    let engine = MemoryEngine::new("events");
    let [one, two] = hubs(&engine).await;
    one.publish(event("a", "last")).await;
    one.hub.close().await;
    let before = one.node.progress().applied;
    two.publish(event("a", "later")).await;
    assert_eq!(one.node.progress().applied, before);
    assert!(one.hub.publish(event("a", "refused")).await.is_err());
}
