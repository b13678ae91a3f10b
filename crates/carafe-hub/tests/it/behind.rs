//! A node that has not read yet what another one has given out.

use std::collections::VecDeque;
use std::future::ready;
use std::sync::{Arc, Mutex};

use carafe_hub::{
    Access, EraseError, EraseOne, GapReason, HubLimits, Page, PageLimit, Start, Subscribe,
    SubscribeError, event_id,
};
use carafe_log::{AppendAt, Entry, ExternalId, MemoryLimits, Publication, ReadError};
use carafe_protocol::{Position, TopicMatcher};
use futures_util::FutureExt;
use tokio::sync::Semaphore;

use crate::fixture::{
    FORMATS, Rig, after, at_once, data, entry, no_ring, publication, publish, subscribe, topic,
};
use crate::listener::{Item, Listener};
use crate::oracle::Random;

/// Two nodes: the test decides when what was published at one arrives at the other.
struct Nodes {
    ahead: Rig,
    behind: Rig,
    arriving: Arriving,
}

type Arriving = Arc<Mutex<VecDeque<Entry>>>;

impl Nodes {
    /// What has not arrived arrives when the node catches up.
    fn new() -> Self {
        Self::keeping(MemoryLimits::default(), HubLimits::default())
    }

    fn keeping(kept: MemoryLimits, limits: HubLimits) -> Self {
        let ahead = Rig::supplied(MemoryLimits::default(), HubLimits::default());
        let nodes =
            Self { ahead, behind: Rig::supplied(kept, limits), arriving: Arriving::default() };
        let (log, arriving) = (nodes.behind.log.clone(), Arc::clone(&nodes.arriving));
        nodes.behind.log.on_catch_up(move || {
            let entries = arriving.lock().unwrap().drain(..).collect();
            at_once(log.log().append_at(entries)).unwrap();
            Box::pin(ready(Ok(())))
        });
        nodes
    }

    /// The node does not catch up any more.
    fn cut(&self) {
        self.behind.log.on_catch_up(|| Box::pin(ready(Err(ReadError::Behind))));
    }

    fn publish(&self, publication: Publication) -> Position {
        let position = publish(&self.ahead.hub, publication.clone());
        self.arriving.lock().unwrap().push_back(entry(position, publication));
        position
    }

    fn count(&self, count: usize) -> Vec<Position> {
        (0..count).map(|number| self.publish(publication("a", &number.to_string()))).collect()
    }

    /// The next entries arrive by themselves.
    fn arrive(&self, count: usize) {
        let mut arriving = self.arriving.lock().unwrap();
        let count = count.min(arriving.len());
        self.behind.supply(arriving.drain(..count));
    }
}

fn everything(start: Start) -> Subscribe {
    Subscribe::to(TopicMatcher::any()).from(start)
}

fn try_page(rig: &Rig, start: Start) -> Result<Page, SubscribeError> {
    at_once(rig.hub.page(everything(start), PageLimit { events: 3, ..PageLimit::default() }))
}

fn find_id(rig: &Rig, id: &str) -> Result<Option<Position>, ReadError> {
    at_once(rig.hub.find_id(id, &Access::public(), None))
}

fn with_id(data: &str, id: &str) -> Publication {
    publication("a", data).with_external_id(ExternalId::new(id).unwrap())
}

#[test]
fn a_stream_that_resumes_ahead_of_its_node_begins_when_that_has_its_position() {
    for format in FORMATS {
        let nodes = Nodes::new();
        let all = nodes.count(4);
        nodes.arrive(1);
        let mut listener = nodes.behind.listen_in(format, everything(after(all[2])));
        let received = listener.receive();
        assert_eq!(received[0], Item::Position(all[2]));
        assert_eq!(data(&received), ["3"]);
    }
}

#[test]
fn a_page_and_a_snapshot_ahead_of_their_node_have_what_follows_and_nothing_twice() {
    let nodes = Nodes::new();
    let all = nodes.count(4);
    let page = try_page(&nodes.behind, after(all[2])).unwrap();
    assert_eq!(page.events.iter().map(|event| event.data()).collect::<Vec<_>>(), ["3"]);

    let nodes = Nodes::new();
    let lamp = nodes.publish(publication("lamp", "on"));
    nodes.arrive(1);
    let seen = nodes.publish(publication("lamp", "off"));
    nodes.publish(publication("door", "open"));
    for (position, expected) in [(seen, &["open"][..]), (lamp, &["off", "open"])] {
        let latest = everything(Start::LatestAfter(position));
        assert_eq!(data(&nodes.behind.listen(latest).receive()), expected);
    }
}

#[test]
fn an_event_that_its_node_has_not_read_yet_is_erased() {
    let nodes = Nodes::new();
    let event = nodes.publish(publication("a", "secret"));
    let erased = at_once(nodes.behind.hub.erase_one(&topic("a"), event, None)).unwrap();
    assert!(matches!(erased, EraseOne::Erased(_)), "{erased:?}");
}

#[test]
fn an_id_that_its_node_has_not_read_yet_is_found() {
    let nodes = Nodes::new();
    let known = nodes.publish(with_id("0", "urn:0"));
    nodes.arrive(1);
    let [named, plain] = [with_id("1", "urn:1"), publication("a", "2")].map(|it| nodes.publish(it));
    let early = known.to_string();
    for (id, position) in [("urn:0", known), (&*early, known)] {
        assert_eq!(find_id(&nodes.behind, id), Ok(Some(position)));
    }
    let foreign = Position { nonce: known.nonce ^ 1, ..known }.to_string();
    assert_eq!(find_id(&nodes.behind, &foreign), Ok(None));
    assert_eq!(nodes.behind.log.catch_ups(), 0, "no other node can know better");
    assert_eq!(find_id(&nodes.behind, "urn:1"), Ok(Some(named)));
    assert_eq!(find_id(&nodes.behind, &plain.to_string()), Ok(Some(plain)));
    assert_eq!(find_id(&nodes.behind, "urn:2"), Ok(None), "nobody has it");
}

#[test]
fn a_position_that_no_node_has_is_lost_at_once() {
    let nodes = Nodes::new();
    let tail = nodes.count(3)[2];
    nodes.arrive(1);
    let lost = Position { offset: tail.offset + 1, ..tail };
    let page = try_page(&nodes.behind, after(lost)).unwrap();
    let gap = page.gap.expect("a gap");
    assert_eq!((gap.reason, gap.resume_after), (GapReason::Lost, tail));
    for format in FORMATS {
        let mut listener = nodes.behind.listen_in(format, everything(after(lost)));
        assert_eq!(listener.receive(), [nodes.behind.lost(lost, tail), Item::Position(tail)]);
    }
}

#[test]
fn a_position_that_turns_out_to_be_another_entrys_or_trimmed_is_a_gap() {
    let nodes = Nodes::new();
    let last = nodes.count(3)[2];
    let foreign = Position { nonce: last.nonce ^ 1, ..last };
    let received = nodes.behind.listen(everything(after(foreign))).receive();
    assert_eq!(received[0], nodes.behind.gap(&foreign, GapReason::Foreign));
    assert_eq!(data(&received), ["0", "1", "2"], "what there is of this generation");

    let nodes = Nodes::keeping(MemoryLimits::default().with_entries(2), no_ring());
    let trimmed = nodes.count(8)[3];
    let received = nodes.behind.listen(everything(after(trimmed))).receive();
    assert_eq!(received[0], nodes.behind.gap(&trimmed, GapReason::Trimmed));
    assert_eq!(data(&received), ["6", "7"]);
}

#[test]
fn a_node_that_does_not_catch_up_says_so_and_serves_what_it_has() {
    let nodes = Nodes::new();
    let all = nodes.count(3);
    nodes.arrive(2);
    nodes.cut();
    let behind = || SubscribeError::from(ReadError::Behind);
    for start in [after(all[2]), Start::LatestAfter(all[2])] {
        let stream = subscribe(&nodes.behind.hub, everything(start.clone()));
        assert_eq!(stream.err(), Some(behind()), "{start:?}");
        assert_eq!(try_page(&nodes.behind, start).err(), Some(behind()));
    }
    let erased = at_once(nodes.behind.hub.erase_one(&topic("a"), all[2], None));
    assert_eq!(erased, Err(EraseError::from(ReadError::Behind)));
    for id in [&*all[2].to_string(), "urn:unknown"] {
        assert_eq!(find_id(&nodes.behind, id), Err(ReadError::Behind));
    }
    assert_eq!(data(&nodes.behind.listen(everything(after(all[0]))).receive()), ["1"]);
}

#[test]
fn a_client_that_waits_for_its_node_holds_no_permit() {
    let nodes = Nodes::keeping(MemoryLimits::default(), no_ring().with_replays(1));
    let all = nodes.count(3);
    nodes.arrive(2);
    let gate = Arc::new(Semaphore::new(0));
    let closed = Arc::clone(&gate);
    nodes.behind.log.on_catch_up(move || {
        let gate = Arc::clone(&closed);
        Box::pin(async move {
            gate.acquire().await.unwrap().forget();
            Ok(())
        })
    });
    let mut waiting = Box::pin(nodes.behind.hub.subscribe(everything(after(all[2]))));
    assert!(waiting.as_mut().now_or_never().is_none());
    assert_eq!(data(&nodes.behind.listen(everything(after(all[0]))).receive()), ["1"]);
    nodes.arrive(1);
    gate.add_permits(1);
    assert!(at_once(waiting).is_ok());
}

/// A client that moves between the nodes, and reads now so and now so.
struct Client {
    random: Random,
    /// What it has received.
    received: Vec<String>,
    /// The last event that it has received, and its ID as clients of Mercure know it.
    last: Option<(Position, String)>,
}

impl Client {
    fn read(&mut self, rig: &Rig) -> Result<(), SubscribeError> {
        let position = self.last.as_ref().map(|(position, _)| *position);
        let start = position.map_or(Start::Earliest, after);
        match self.random.below(4) {
            0 => self.read_page(rig, start),
            1 => self.read_as_mercure(rig),
            2 if position.is_some() => self.read_latest(rig, position.unwrap()),
            _ => self.read_stream(rig, start),
        }
    }

    fn read_stream(&mut self, rig: &Rig, start: Start) -> Result<(), SubscribeError> {
        let subscription = subscribe(&rig.hub, everything(start))?;
        let mut listener = Listener::new(subscription, None);
        for item in listener.receive() {
            match item {
                Item::Position(_) => {}
                Item::Gap(gap) => panic!("nothing is missing: {gap:?}"),
                Item::Event(event) => self.take(rig, event.position, event.data),
            }
        }
        Ok(())
    }

    fn read_page(&mut self, rig: &Rig, start: Start) -> Result<(), SubscribeError> {
        let page = try_page(rig, start)?;
        assert_eq!(page.gap, None, "nothing is missing");
        page.events.iter().for_each(|event| self.take(rig, event.position, event.data().into()));
        Ok(())
    }

    fn read_as_mercure(&mut self, rig: &Rig) -> Result<(), SubscribeError> {
        let Some((_, id)) = &self.last else { return self.read_stream(rig, Start::Earliest) };
        let found = find_id(rig, id)?;
        self.read_stream(rig, after(found.expect("the last event is there")))
    }

    /// It has the newest event of the topic, or there is a newer one.
    fn read_latest(&self, rig: &Rig, position: Position) -> Result<(), SubscribeError> {
        let request = everything(Start::LatestAfter(position));
        let mut listener = Listener::new(subscribe(&rig.hub, request)?, None);
        let values = listener.receive();
        let has = |value: &&str| self.received.iter().any(|received| received == value);
        assert_eq!(data(&values).into_iter().find(has), None, "it has this one");
        Ok(())
    }

    fn take(&mut self, rig: &Rig, position: Position, data: String) {
        let entry = at_once(rig.hub.entry_at(position)).unwrap().unwrap();
        assert_eq!(data, self.received.len().to_string(), "lost, doubled or out of order");
        self.received.push(data);
        self.last = Some((position, event_id(&entry).to_string()));
    }
}

#[test]
fn a_client_that_moves_between_nodes_receives_each_event_once_however_it_reads() {
    let mut moved = 0;
    for seed in 0..300 {
        let (nodes, mut published) = (Nodes::new(), 0_usize);
        let mut client = Client { random: Random::new(seed), received: Vec::new(), last: None };
        for _ in 0..60 {
            match client.random.below(6) {
                0..2 => {
                    let data = published.to_string();
                    let id = format!("urn:{data}");
                    let named = client.random.one_in(2);
                    let event = if named { with_id(&data, &id) } else { publication("a", &data) };
                    nodes.publish(event);
                    published += 1;
                }
                2 => nodes.arrive(client.random.below(3)),
                3 => client.read(&nodes.ahead).unwrap(),
                _ => client.read(&nodes.behind).unwrap(),
            }
        }
        moved += nodes.behind.log.catch_ups();
        let start = client.last.as_ref().map_or(Start::Earliest, |(position, _)| after(*position));
        client.read_stream(&nodes.ahead, start).unwrap();
        assert_eq!(client.received.len(), published);
    }
    assert!(moved > 300, "the node was behind {moved} times");
}
