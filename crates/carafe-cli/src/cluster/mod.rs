//! A node of a cluster: a hub whose events are ordered and stored by an engine that several hubs
//! share. The node's own log is a copy of what the engine has.
//!
//! A node never goes back while it serves: if its log and the engine differ, it ends its streams
//! and starts again, and the start brings the log to where the engine is.

mod command;
mod credentials;
mod engine;
mod gate;
mod local;
mod old_copies;
mod reports;

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use carafe_cluster::{
    Belief, ClusterLog, ClusterOptions as NodeOptions, Divergence, Engine, Node, Requirements,
    StartError, State, Stopped,
};
use carafe_http::{Options, Readiness};
use carafe_hub::Hub;
use carafe_log::{Append, AppendAt, Read};
use tokio::time::sleep;
use tracing::{info, warn};

pub(crate) use command::run;
pub(crate) use gate::Gate;

use crate::cli::{ClusterOptions, EngineUrl, HubOptions, LogPlace, Settings};
use crate::closing::Closing;
use crate::cluster::gate::Gated;
use crate::cluster::local::Begin;
use crate::failure::Failure;
use crate::restart;
use crate::settings;

/// How often a node starts over because the engine changes while it starts.
const ATTEMPTS: usize = 5;

/// The pause before that.
const PAUSE: Duration = Duration::from_millis(500);

/// What a message of the engine has besides an event, at most: topics, keys and the like.
const OVERHEAD: usize = 16 << 10;

/// What a node is started with.
pub(crate) struct Cluster {
    pub(crate) url: EngineUrl,
    options: ClusterOptions,
    /// The options as they were given: defaults give way to the engine's limits.
    given: Settings,
}

/// Completes with the reason when the log on disk fails.
pub(crate) type LogFailure = Pin<Box<dyn Future<Output = String> + Send>>;

/// A hub with its log, and the node that it may be.
pub(crate) struct Opened {
    pub(crate) hub: Hub,
    pub(crate) node: Option<(Node, Gate)>,
    pub(crate) failure: LogFailure,
}

impl Cluster {
    /// `None` for a hub that is no node.
    pub(crate) fn of(options: &ClusterOptions, given: Settings) -> Option<Self> {
        let url = options.cluster.clone()?;
        Some(Self { url, options: options.clone(), given })
    }

    /// Opens the engine and the node's log, and starts the hub.
    pub(crate) async fn start(
        &self,
        hub: &HubOptions,
        access: &mut Options,
        closing: &Closing,
    ) -> Result<Opened, Failure> {
        let setup = engine::open(&self.url, &self.options, requirements(hub, access)).await?;
        let engine: Arc<dyn Engine> = setup.clone();
        let state = engine::patiently(|| engine.state()).await?;
        self.fit(access, &state)?;
        engine::check(&*setup, effective(hub, access)).await?;
        // A node that starts again in this process may have waited before it ended.
        let belief = if restart::is_confirmed() { Belief::confirmed() } else { Belief::default() };
        let mut attempts = 0;
        let opened = loop {
            match self.start_once(&engine, hub, &state, &belief, closing).await? {
                Ok(opened) => break opened,
                Err(error) if attempts < ATTEMPTS => {
                    warn!(%error, "the engine has changed while the node started; trying again");
                    attempts += 1;
                    sleep(PAUSE).await;
                }
                Err(error) => return Err(Failure::failed(error)),
            }
        };
        if let Some((node, _)) = &opened.node {
            access.readiness = self.readiness(node);
            let node = node.clone();
            access.metrics.add_figures(move || reports::figures(&node));
        }
        Ok(opened)
    }

    /// Opens the node's log, and starts the node on it, unless the engine changes meanwhile.
    async fn start_once(
        &self,
        engine: &Arc<dyn Engine>,
        hub: &HubOptions,
        state: &State,
        belief: &Belief,
        closing: &Closing,
    ) -> Result<Result<Opened, StartError>, Failure> {
        let (begin, options) = (Begin::of(state), self.node_options(hub));
        match &hub.log {
            LogPlace::Memory => {
                let log = local::memory(&**engine, hub, begin).await?;
                Ok(start_on(log, engine, hub, options, Box::pin(pending())).await)
            }
            LogPlace::Disk(folder) => {
                let (log, failure) = local::disk(&**engine, folder, hub, begin, belief).await?;
                log.compact(hub.compact.clone());
                let closed = log.closed();
                tokio::spawn(log.answering());
                let started = start_on(log, engine, hub, options, failure).await;
                match &started {
                    Ok(_) => closing.wait_for(closed),
                    // It is opened again.
                    Err(_) => closed.await,
                }
                Ok(started)
            }
        }
    }

    fn node_options(&self, hub: &HubOptions) -> NodeOptions {
        NodeOptions::default()
            .with_waiting_bytes(settings::bytes(hub.waiting_bytes))
            .with_erasures(hub.erasures)
            .with_ended_topics(hub.ended_topics)
            .with_remembered_keys(self.options.remembered_keys)
    }

    /// `carafe serve --check`: reports what a node would find.
    pub(crate) async fn check(
        &self,
        hub: &HubOptions,
        access: &mut Options,
    ) -> Result<(), Failure> {
        let engine = credentials::resolve(&self.url, &self.options.access)?;
        let setup = carafe_cluster::open(engine).await.map_err(|error| engine::failed(&error))?;
        let state = setup.state().await.map_err(|error| engine::failed(&error))?;
        self.fit(access, &state)?;
        command::report(&*setup, effective(hub, access)).await
    }

    /// Lowers the default limits of events and batches to what a message of the engine holds.
    fn fit(&self, access: &mut Options, state: &State) -> Result<(), Failure> {
        let most = state.payload.saturating_sub(OVERHEAD.max(state.payload / 16));
        for (option, limit) in
            [("event-bytes", &mut access.event_bytes), ("batch-bytes", &mut access.batch_bytes)]
        {
            if *limit <= most {
                continue;
            }
            let most_shown = ByteSize::b(most as u64);
            let is_given = self.given.get(option).is_some_and(|given| given.value != given.default);
            if is_given {
                return Err(Failure::failed(format!(
                    "--{option} is more than a message of the engine holds: lower it to \
                     {most_shown}, or raise max_payload of the engine's servers"
                )));
            }
            info!("--{option} is {most_shown}: a message of the engine holds no more");
            *limit = most;
        }
        Ok(())
    }

    /// Closed until the node has filled: before that, it does not know what is revoked, and would
    /// send old events as new ones.
    fn readiness(&self, node: &Node) -> Readiness {
        let (node, away) = (node.clone(), self.options.cluster_away);
        Readiness::closed().with_reason(move || reports::why_not_ready(&node.progress(), away))
    }
}

/// Why a node must not serve any longer.
pub(crate) enum NodeEnd {
    /// Its log and the engine differ.
    StartAgain(Divergence),
    Failed(Failure),
}

/// Completes when the node must not serve any longer.
pub(crate) async fn end(node: Node) -> NodeEnd {
    match node.stopped().await {
        Stopped::Diverged(why) => {
            warn!(%why, "this node's log and the engine differ: starting again");
            NodeEnd::StartAgain(why)
        }
        stopped => NodeEnd::Failed(Failure::failed(stopped)),
    }
}

/// The same with the limits that are in force, which are not those of a new stream.
fn effective(hub: &HubOptions, access: &Options) -> Requirements {
    let history_bytes = Some(settings::history_bytes(hub));
    Requirements { history_bytes, ..requirements(hub, access) }
}

fn requirements(hub: &HubOptions, access: &Options) -> Requirements {
    Requirements {
        event_bytes: access.event_bytes,
        history_age: hub.history_age,
        history_bytes: hub.history_bytes.map(|size| size.as_u64()),
        key_window: hub.key_window,
    }
}

/// Starts a node on its own log, and the hub on the node.
async fn start_on<L>(
    log: L,
    engine: &Arc<dyn Engine>,
    hub: &HubOptions,
    options: NodeOptions,
    failure: LogFailure,
) -> Result<Opened, StartError>
where
    L: Append + AppendAt + Read + 'static,
{
    let (engine, gate) = Gated::new(Arc::clone(engine));
    let log = ClusterLog::start(Arc::new(engine), log, options).await?;
    let node = Some((log.node(), gate));
    Ok(Opened { hub: Hub::with_limits(log, settings::hub_limits(hub)), node, failure })
}
