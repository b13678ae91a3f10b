//! Some nodes on one engine, and short names for what the tests do with them.

use std::cell::RefCell;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use carafe_cluster::{
    ClusterLog, ClusterOptions, Divergence, Engine, MemoryEngine, Node, Plan, Progress, StartError,
    Stopped, begin_after, plan,
};
use carafe_log::{
    Append, AppendError, Appended, BlockLimit, BoxFuture, Clock, Entry, Find, IdempotencyKey,
    MemoryLimits, MemoryLog, Publication, Read,
};
use carafe_protocol::{Offset, Position, Topic, TopicMatcher};
use tokio::task::{AbortHandle, JoinHandle, yield_now};
use tokio::time::{sleep, timeout};

use crate::cable::Cable;
use crate::local::Local;

/// What a publisher is answered.
pub(crate) type Answer = Result<Vec<Appended>, AppendError>;

/// A node with its connection and its local log, both of which survive it.
pub(crate) struct Server {
    engine: MemoryEngine,
    pub(crate) cable: Cable,
    pub(crate) local: Local,
    limits: MemoryLimits,
    clock: Option<Clock>,
    /// `None` after the node did not start.
    log: Option<Arc<ClusterLog<Local>>>,
    options: ClusterOptions,
    /// Those who wait for an answer: they end with the node.
    publishers: RefCell<Vec<AbortHandle>>,
}

impl Server {
    pub(crate) async fn start(engine: &MemoryEngine) -> Self {
        Self::start_with(engine, MemoryLimits::default(), None).await
    }

    /// Starts a node with an empty log.
    pub(crate) async fn start_with(
        engine: &MemoryEngine,
        limits: MemoryLimits,
        clock: Option<Clock>,
    ) -> Self {
        let cable = Cable::to(engine);
        let local = empty(engine, limits, clock.clone()).await;
        let options = ClusterOptions::default();
        let log = Some(started(&cable, &local, options).await.unwrap());
        let (engine, publishers) = (engine.clone(), RefCell::default());
        Self { engine, cable, local, limits, clock, log, options, publishers }
    }

    pub(crate) fn log(&self) -> &Arc<ClusterLog<Local>> {
        self.log.as_ref().unwrap()
    }

    /// Starts a node with other options.
    pub(crate) async fn start_as(engine: &MemoryEngine, options: ClusterOptions) -> Self {
        let mut server = Self::start(engine).await;
        server.become_with(options).await;
        server
    }

    /// Starts the node again with other options.
    pub(crate) async fn become_with(&mut self, options: ClusterOptions) {
        self.options = options;
        self.restart().await;
    }

    /// A handle that tells how the node is.
    pub(crate) fn node(&self) -> Node {
        self.log().node()
    }

    pub(crate) fn progress(&self) -> Progress {
        self.node().progress()
    }

    /// Ends the node as a crash does, and starts it again with its log.
    pub(crate) async fn restart(&mut self) {
        self.try_restart().await.unwrap();
    }

    pub(crate) async fn try_restart(&mut self) -> Result<(), StartError> {
        self.stop().await;
        self.log = Some(started(&self.cable, &self.local, self.options).await?);
        Ok(())
    }

    /// Ends the node, and starts it again without its log.
    pub(crate) async fn restart_empty(&mut self) {
        self.stop().await;
        self.local = empty(&self.engine, self.limits, self.clock.clone()).await;
        self.log = Some(started(&self.cable, &self.local, self.options).await.unwrap());
    }

    /// Does what the program does with a node that has stopped.
    pub(crate) async fn recover(&mut self) {
        match plan(&self.cable, &self.local).await.unwrap() {
            Plan::GoOn => self.restart().await,
            // A log in memory cannot go back: it is filled again.
            Plan::GoBack { .. } | Plan::Clear { .. } => self.restart_empty().await,
        }
    }

    async fn stop(&mut self) {
        self.publishers.take().iter().for_each(AbortHandle::abort);
        self.log = None;
        // The aborted tasks are dropped when the runtime comes to them.
        for _ in 0..10 {
            yield_now().await;
        }
    }

    /// Publishes without waiting for the answer. The publication has its place in the order when
    /// this returns.
    pub(crate) async fn begin(&self, batch: Vec<Publication>) -> JoinHandle<Answer> {
        let log = Arc::clone(self.log());
        let mut append: BoxFuture<'static, Answer> =
            Box::pin(async move { log.append(batch).await });
        let answer = poll_fn(|cx| Poll::Ready(append.as_mut().poll(cx))).await;
        let publisher = match answer {
            Poll::Ready(answer) => tokio::spawn(async { answer }),
            Poll::Pending => tokio::spawn(append),
        };
        self.publishers.borrow_mut().push(publisher.abort_handle());
        publisher
    }

    pub(crate) async fn publish(&self, batch: Vec<Publication>) -> Answer {
        self.log().append(batch).await
    }

    /// Publishes one event, which is stored.
    pub(crate) async fn publish_one(&self, publication: Publication) -> Appended {
        self.publish(vec![publication]).await.unwrap()[0]
    }

    /// Publishes one event again and again, until it is stored.
    pub(crate) async fn publish_in_the_end(&self, publication: Publication) {
        for _ in 0..20 {
            if self.publish(vec![publication.clone()]).await.is_ok() {
                return;
            }
        }
        panic!("the engine does not come back");
    }

    /// Waits until the node has applied what the engine has.
    pub(crate) async fn settle(&self) {
        let last = self.engine.state().await.unwrap().last;
        self.reach(last).await;
    }

    pub(crate) async fn reach(&self, sequence: u64) {
        until(|| self.progress().applied >= sequence).await;
    }

    pub(crate) async fn diverged(&self) -> Divergence {
        match timeout(Duration::from_secs(60), self.node().stopped()).await {
            Ok(Stopped::Diverged(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn find(&self, position: Position) -> Find {
        self.log().find(position).await.unwrap()
    }

    /// The offset behind which the node has all entries. An empty log may begin later than it says.
    pub(crate) fn before_oldest(&self) -> Offset {
        let span = self.local.span();
        let moved = span.oldest.filter(|_| span.start.nonce == 0);
        moved.map_or(span.start.offset, |oldest| oldest.offset - 1)
    }

    /// Whether this is the answer for a position before the oldest entry: a gap, unless it is where
    /// the log starts. A log that began later does not know whose position it was.
    pub(crate) fn is_gone(&self, position: Position, found: Find) -> bool {
        let start = self.local.span().start;
        match found {
            Find::Trimmed => true,
            Find::Found => position == start,
            Find::Foreign => start.nonce == 0,
            _ => false,
        }
    }

    /// All entries that the node keeps.
    pub(crate) async fn entries(&self) -> Vec<Arc<Entry>> {
        entries(&self.local, self.local.span().start).await
    }

    pub(crate) async fn data(&self) -> Vec<String> {
        self.entries().await.iter().map(|entry| entry.data().to_owned()).collect()
    }
}

/// An empty log that fits to the engine.
async fn empty(engine: &MemoryEngine, limits: MemoryLimits, clock: Option<Clock>) -> Local {
    let state = engine.state().await.unwrap();
    let log = MemoryLog::with_generation(limits, state.identity.generation)
        .beginning_after(begin_after(&state));
    Local::on(match clock {
        Some(clock) => log.with_clock(clock),
        None => log,
    })
}

async fn started(
    cable: &Cable,
    local: &Local,
    options: ClusterOptions,
) -> Result<Arc<ClusterLog<Local>>, StartError> {
    let log = ClusterLog::start(Arc::new(cable.clone()), local.clone(), options).await?;
    Ok(Arc::new(log))
}

/// The entries after a position.
pub(crate) async fn entries(log: &impl Read, after: Position) -> Vec<Arc<Entry>> {
    let limit = BlockLimit { entries: usize::MAX, bytes: usize::MAX };
    let (mut entries, mut after) = (Vec::new(), after.offset);
    loop {
        let block = log.read(after, vec![TopicMatcher::any()], limit).await.unwrap();
        entries.extend(block.entries);
        after = block.up_to.offset;
        if block.up_to == log.span().tail {
            return entries;
        }
    }
}

/// Waits, with paused time, until a condition holds.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..100_000 {
        if holds() {
            return;
        }
        sleep(Duration::from_millis(5)).await;
    }
    panic!("not within 500 seconds of the paused clock");
}

/// Starts some nodes with empty logs, and waits until they follow the engine.
pub(crate) async fn nodes(engine: &MemoryEngine, count: usize) -> Vec<Server> {
    let mut servers = Vec::new();
    for _ in 0..count {
        let server = Server::start(engine).await;
        server.node().filled().await;
        servers.push(server);
    }
    servers
}

pub(crate) fn topic(text: &str) -> Topic {
    Topic::new(text).unwrap()
}

pub(crate) fn event(to: &str, data: &str) -> Publication {
    Publication::new(topic(to), data)
}

pub(crate) fn keyed(to: &str, data: &str, key: &str) -> Publication {
    event(to, data).with_key(IdempotencyKey::new(key).unwrap())
}
