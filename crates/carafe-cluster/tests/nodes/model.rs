//! Random histories of nodes that publish while everything fails that may fail. One oracle knows
//! each publication and its answer, and what all nodes have to come to.

use std::time::Duration;

use carafe_cluster::{
    DUPLICATE_WINDOW, Divergence, Engine, MemoryEngine, NoCommit, Outcome, StartError, sequence_of,
};
use carafe_log::{
    AppendError, Appended, Commit, Erase, Find, MemoryLimits, Outcome as End, Publication, Read,
};
use carafe_testing::process::{from_env, seed};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::cable::Line;
use crate::reference::{Archive, Expected, Reference};
use crate::world::{Answer, Server, entries, event, keyed, topic};

/// Short, so that keys come back after it.
const KEY_WINDOW: Duration = Duration::from_secs(3);

/// Far fewer than are published within the window.
const FEW_ENTRIES: usize = 20;

/// Longer than anything that a node does about a fault.
const CALM: Duration = Duration::from_secs(30);

const STEPS: usize = 300;

struct History {
    random: StdRng,
    engine: MemoryEngine,
    servers: Vec<Server>,
    attempts: Vec<Attempt>,
    published: usize,
    /// The messages that the engine has trimmed.
    archive: Archive,
    /// The first message after a pause that is longer than a key window: what is before may be
    /// trimmed.
    trimmable: u64,
    /// Messages that are no commits.
    foreign: Vec<u64>,
    /// How often a node was started again since the engine had lost something.
    stopped: usize,
}

/// What has happened in all histories.
#[derive(Debug, Default)]
struct Summary {
    acknowledged: usize,
    repeated: usize,
    refused: usize,
    unavailable: usize,
    stopped: usize,
    trimmed: usize,
    late: usize,
}

/// Something that was published.
struct Attempt {
    node: usize,
    batch: Vec<Publication>,
    answer: Answered,
}

enum Answered {
    NotYet(JoinHandle<Answer>),
    With(Answer),
    /// The node has ended before, or the engine has lost it: it is stored once, or not.
    Never,
}

/// What happens to the nodes and the engine, besides that events are published.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Faults {
    /// What is acknowledged stays.
    Passing,
    /// The engine loses what it has acknowledged.
    Losing,
}

#[test]
fn whatever_fails_each_acknowledged_event_is_once_and_at_the_same_place_at_every_node() {
    each_history(from_env("CARAFE_CLUSTER_HISTORIES", 40), Faults::Passing);
}

#[test]
fn when_the_engine_loses_events_all_nodes_come_to_what_it_has_left() {
    each_history(from_env("CARAFE_CLUSTER_HISTORIES", 20), Faults::Losing);
}

fn each_history(histories: u64, faults: Faults) {
    let (first, mut summary) = (seed(), Summary::default());
    for seed in (0..histories).map(|number| first.wrapping_add(number)) {
        println!("CARAFE_TEST_SEED={seed} repeats this history");
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut history = History::begin(seed).await;
            for _ in 0..STEPS {
                history.step(faults).await;
            }
            history.finish(&mut summary).await;
        });
    }
    println!("{histories} histories: {summary:?}");
    let Summary { acknowledged, repeated, refused, unavailable, stopped, trimmed, late } = summary;
    let rare = match faults {
        Faults::Passing => trimmed,
        Faults::Losing => stopped,
    };
    let often = [acknowledged / 20, repeated, refused, unavailable, late, rare];
    // Of the rarest, a history has three on average.
    assert!(often.iter().all(|count| 4 * *count as u64 >= histories), "everything happens often");
}

impl History {
    async fn begin(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let engine = MemoryEngine::new("events").with_window(DUPLICATE_WINDOW);
        let mut servers = Vec::new();
        for _ in 0..random.random_range(1..=3) {
            let limits = MemoryLimits::default().with_key_window(KEY_WINDOW);
            let few = limits.with_entries(random.random_range(1..FEW_ENTRIES));
            let limits = if random.random_ratio(1, 2) { few } else { limits };
            servers.push(Server::start_with(&engine, limits, None).await);
        }
        Self {
            random,
            engine,
            servers,
            attempts: Vec::new(),
            published: 0,
            archive: Archive::default(),
            trimmable: 1,
            foreign: Vec::new(),
            stopped: 0,
        }
    }

    async fn step(&mut self, faults: Faults) {
        match self.random.random_range(0..100) {
            0..60 => self.publish().await,
            60..72 => self.pause().await,
            72..80 => self.disturb(),
            80..93 => self.heal(),
            93..96 => self.restart().await,
            96..98 => self.resume().await,
            98 => self.thaw().await,
            _ if faults == Faults::Losing => self.lose().await,
            _ => self.trim().await,
        }
    }

    async fn publish(&mut self) {
        let node = self.random.random_range(0..self.servers.len());
        let count = self.random.random_range(1..=3);
        let batch: Vec<_> = (0..count).map(|_| self.publication()).collect();
        let answer = Answered::NotYet(self.servers[node].begin(batch.clone()).await);
        self.attempts.push(Attempt { node, batch, answer });
    }

    fn publication(&mut self) -> Publication {
        self.published += 1;
        let (number, random) = (self.published, &mut self.random);
        let mut name = || format!("topic-{}", random.random_range(0..4));
        let (to, other, data) = (name(), name(), format!("event {number}"));
        let publication = match random.random_range(0..100) {
            0..40 => event(&to, &data),
            40..80 => keyed(&to, &data, &format!("key-{}", random.random_range(0..3))),
            80..83 => return Publication::end(topic(&to), End::Done),
            83..85 => return Publication::end(topic(&to), End::Failed),
            85..88 => return Publication::stop(topic(&to)),
            88..97 => event(&to, &data).with_reopening(true),
            _ => return Publication::erase(topic(&to), Erase::Before),
        };
        let has_two = to != other && random.random_ratio(1, 8);
        let publication =
            if has_two { publication.with_alternates([topic(&other)]) } else { publication };
        let is_of_hub = random.random_ratio(1, 12);
        publication.with_private(random.random_ratio(1, 6)).with_hub(is_of_hub)
    }

    async fn pause(&mut self) {
        let longest = [20, 300, 6000][self.random.random_range(0..3)];
        sleep(Duration::from_millis(self.random.random_range(0..longest))).await;
    }

    fn disturb(&mut self) {
        let (random, engine) = (&mut self.random, &self.engine);
        let server = &self.servers[random.random_range(0..self.servers.len())];
        match random.random_range(0..13) {
            0 => engine.away(true),
            1 => engine.frozen(true),
            2 => engine.muted(true),
            3 => engine.break_tails(),
            4 => self.foreign.push(engine.insert_foreign("not a commit")),
            5 => server.cable.set(Line::Cut),
            6 => server.cable.set(Line::Silent),
            7 => server.local.refuse(random.random_range(1..4)),
            8 => engine.clock_behind(Duration::from_millis(random.random_range(0..5000))),
            9 => server.local.lose_answers(1),
            10 => engine.copy_next_appends(random.random_range(1..9)),
            11 => {
                let delays = [0, 1, 40, 900].map(Duration::from_millis);
                let mut delay = || delays[random.random_range(0..4)];
                engine.slow(delay(), delay());
            }
            _ => {
                let outcomes = [Outcome::Stored, Outcome::LostAnswer, Outcome::LostRequest];
                engine.next_appends((0..3).map(|_| outcomes[random.random_range(0..3)]));
            }
        }
    }

    /// A frozen server goes on, and forwards what it has, soon or late.
    async fn thaw(&mut self) {
        let longest = 2 * DUPLICATE_WINDOW.as_millis() as u64;
        sleep(Duration::from_millis(self.random.random_range(0..longest))).await;
        self.engine.forward_copies();
    }

    fn heal(&self) {
        self.engine.away(false);
        self.engine.frozen(false);
        self.engine.muted(false);
        self.engine.slow(Duration::ZERO, Duration::ZERO);
        self.servers.iter().for_each(|server| server.cable.set(Line::Good));
        self.servers.iter().for_each(|server| server.local.refuse(0));
        self.servers.iter().for_each(|server| server.local.lose_answers(0));
    }

    /// Crashes a node, and starts it with its log or without.
    async fn restart(&mut self) {
        let node = self.random.random_range(0..self.servers.len());
        self.heal();
        self.collect(true, Some(node)).await;
        if self.random.random_ratio(1, 3) {
            self.servers[node].restart_empty().await;
        } else {
            // What it stored last may be trimmed, and nothing that came since was stored.
            match self.servers[node].try_restart().await {
                Ok(()) => {}
                Err(StartError::Diverged(Divergence::Overtaken { .. })) => {
                    self.servers[node].restart_empty().await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// A position that one node gave out is one at all nodes, which may only have to wait for it.
    async fn resume(&mut self) {
        self.collect(false, None).await;
        let given: Vec<_> = self.attempts.iter().flat_map(Attempt::appended).collect();
        if given.is_empty() {
            return;
        }
        let (_, appended) = given[self.random.random_range(0..given.len())];
        for server in &self.servers {
            let has_caught_up = server.log().catch_up().await.is_ok();
            let found = server.find(appended.position).await;
            let is_trimmed = appended.position.offset <= server.before_oldest();
            let is_known = match is_trimmed {
                true => server.is_gone(appended.position, found),
                false => found == Find::Found,
            };
            let may_be_ahead = !has_caught_up && found == Find::Ahead;
            assert!(is_known || may_be_ahead, "{found:?}, {has_caught_up}");
        }
    }

    /// Retention removes what decides no more, or somebody removes a message that is no commit.
    async fn trim(&mut self) {
        self.heal();
        if let Some(foreign) = self.foreign.pop().filter(|_| self.random.random_ratio(1, 3)) {
            self.engine.remove(foreign);
        } else if self.random.random_ratio(1, 2) {
            self.archive.take(&self.engine, self.trimmable).await;
            self.engine.trim(self.trimmable);
        } else {
            sleep(CALM).await;
            self.trimmable = self.engine.state().await.unwrap().last + 1;
        }
        for server in &mut self.servers {
            if tokio::time::timeout(CALM, server.node().stopped()).await.is_ok() {
                server.recover().await;
                self.stopped += 1;
            }
        }
    }

    /// The engine loses what it has acknowledged, and each node is started again that notices.
    async fn lose(&mut self) {
        self.heal();
        let before = self.engine.state().await.unwrap();
        match self.random.random_range(0..3) {
            0 => self.engine.lose_tail(self.random.random_range(1..10)),
            1 => {
                let snapshot = self.engine.snapshot();
                for _ in 0..10 {
                    self.publish().await;
                }
                sleep(CALM).await;
                self.engine.restore(&snapshot);
            }
            _ => self.engine.recreate(),
        }
        let after = self.engine.state().await.unwrap();
        let is_kept = |appended: &Appended| {
            after.identity == before.identity && sequence_of(appended.position.offset) <= after.last
        };
        self.collect(false, None).await;
        for attempt in &mut self.attempts {
            match &attempt.answer {
                Answered::With(Ok(appended)) if appended.iter().all(is_kept) => {}
                Answered::With(Err(error)) if is_refused(error) => {}
                _ => attempt.answer = Answered::Never,
            }
        }
        for server in &mut self.servers {
            let stopped = server.node().stopped();
            if tokio::time::timeout(CALM, stopped).await.is_ok() {
                server.recover().await;
                self.stopped += 1;
            }
        }
    }

    /// Takes the answers that are there: those of all nodes, or of the one that ends.
    async fn collect(&mut self, ending: bool, node: Option<usize>) {
        for attempt in &mut self.attempts {
            let is_meant = node.is_none_or(|node| node == attempt.node);
            let Answered::NotYet(answer) = &mut attempt.answer else { continue };
            if answer.is_finished() {
                attempt.answer = answer.await.map_or(Answered::Never, Answered::With);
            } else if ending && is_meant {
                attempt.answer = Answered::Never;
            }
        }
    }

    async fn finish(mut self, summary: &mut Summary) {
        self.heal();
        sleep(CALM).await;
        for server in &self.servers {
            assert_eq!(server.progress().stopped, None, "the node follows the engine");
            server.settle().await;
        }
        self.collect(false, None).await;
        summary.late += self.late().await;
        let reference = Reference::of_all(&self.engine, &self.archive, KEY_WINDOW).await;
        for server in &self.servers {
            let stored: Vec<_> =
                server.entries().await.iter().map(|entry| Expected::of(entry)).collect();
            let expected = reference.after(server.before_oldest());
            let differs =
                stored.iter().zip(expected).position(|(stored, expected)| stored != expected);
            let (at, count) = (differs.unwrap_or(0), (stored.len(), expected.len()));
            let pair = (stored.get(at), expected.get(at));
            assert!(
                differs.is_none() && count.0 == count.1,
                "{at} of {count:?} differs: {pair:#?}"
            );
            summary.trimmed += reference.entries.len() - expected.len();
        }
        self.check_answers(&reference);
        self.check_order();
        self.check_positions(&reference).await;
        self.summarize(summary);
    }

    /// How many messages of the engine came late.
    async fn late(&self) -> usize {
        let mut late = 0;
        for sequence in 1..=self.engine.state().await.unwrap().last {
            let Some(message) = self.engine.get(sequence).await.unwrap() else { continue };
            late +=
                usize::from(matches!(message.commit(Commit::FORMAT), Err(NoCommit::Late { .. })));
        }
        late
    }

    fn summarize(&self, summary: &mut Summary) {
        summary.stopped += self.stopped;
        for attempt in &self.attempts {
            match &attempt.answer {
                Answered::With(Ok(appended)) => {
                    summary.acknowledged += appended.len();
                    summary.repeated += appended.iter().filter(|new| new.repeated).count();
                }
                Answered::With(Err(AppendError::Unavailable)) => summary.unavailable += 1,
                Answered::With(Err(_)) => summary.refused += 1,
                Answered::NotYet(_) | Answered::Never => {}
            }
        }
    }

    fn check_answers(&self, reference: &Reference) {
        let stored = reference.by_data();
        let times = |publication: &Publication| stored.get(publication.data()).map_or(0, Vec::len);
        for attempt in &self.attempts {
            let events = attempt.batch.iter().filter(|publication| publication.is_event());
            assert!(events.clone().all(|event| times(event) <= 1), "nothing is stored twice");
            match &attempt.answer {
                Answered::With(Ok(appended)) => {
                    let pairs = attempt.batch.iter().zip(appended);
                    pairs.for_each(|(publication, appended)| {
                        reference.check(publication, *appended);
                    });
                }
                Answered::With(Err(error)) if is_refused(error) => {
                    assert!(events.clone().all(|event| times(event) == 0), "{error}");
                }
                Answered::With(Err(AppendError::Unavailable)) | Answered::Never => {}
                Answered::With(Err(error)) => panic!("unexpected: {error}"),
                Answered::NotYet(_) => panic!("each publisher is answered"),
            }
        }
    }

    /// What was published at one node is stored in the order in which it was published.
    fn check_order(&self) {
        for node in 0..self.servers.len() {
            let attempts = self.attempts.iter().filter(|attempt| attempt.node == node);
            let new = attempts.flat_map(Attempt::appended).filter(|(_, new)| !new.repeated);
            let offsets: Vec<_> = new.map(|(_, new)| new.position.offset).collect();
            assert!(offsets.is_sorted(), "{offsets:?}");
        }
    }

    /// Each position that was given out, and is not lost, continues in the same way at every node.
    async fn check_positions(&self, reference: &Reference) {
        let given = self.attempts.iter().flat_map(Attempt::appended);
        for (_, appended) in given.step_by(7) {
            let position = appended.position;
            let rest = reference.after(position.offset);
            for server in &self.servers {
                let found = server.find(position).await;
                if position.offset <= server.before_oldest() {
                    assert!(server.is_gone(position, found), "{position} is {found:?}");
                    continue;
                }
                assert_eq!(found, Find::Found);
                let read = entries(&server.local, position).await;
                assert!(read.iter().map(|entry| Expected::of(entry)).eq(rest.iter().cloned()));
            }
        }
    }
}

impl Attempt {
    /// The publications that were acknowledged, and their positions.
    fn appended(&self) -> impl Iterator<Item = (&Publication, Appended)> {
        let appended = match &self.answer {
            Answered::With(Ok(appended)) => &appended[..],
            _ => &[],
        };
        self.batch.iter().zip(appended.iter().copied())
    }
}

impl Reference {
    /// Checks an acknowledgement.
    fn check(&self, publication: &Publication, appended: Appended) {
        let entry = self.entries.iter().find(|entry| entry.position == appended.position);
        let entry = entry.unwrap_or_else(|| panic!("{publication:?} is at {appended:?}"));
        assert_eq!(entry.topic, publication.topic().as_str());
        match &entry.data {
            // It was erased since.
            None => {}
            Some(data) if !appended.repeated => assert_eq!(data, publication.data()),
            Some(_) => assert!(entry.is_repeated_by(publication), "{entry:?} {publication:?}"),
        }
    }
}

/// Whether an error says for sure that nothing was stored.
fn is_refused(error: &AppendError) -> bool {
    matches!(error, AppendError::Ended { .. } | AppendError::Busy | AppendError::Closed)
}
