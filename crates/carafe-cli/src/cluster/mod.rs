//! A node of a cluster: a hub whose events are ordered and stored by an engine that several hubs
//! share. The node's own log is a copy of what the engine has.
//!
//! A node never goes back while it serves: if its log and the engine differ, it ends its streams
//! and starts again, and the start brings the log to where the engine is.

mod command;
mod credentials;
mod engine;
mod local;
mod reports;

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;

use bytesize::ByteSize;
use carafe_cluster::{ClusterLog, Engine, Node, Requirements, State, Stopped};
use carafe_http::{Options, Readiness};
use carafe_hub::Hub;
use carafe_log::{Append, AppendAt, Read};
use tracing::{info, warn};

pub(crate) use command::run;

use crate::cli::{ClusterOptions, EngineUrl, HubOptions, LogPlace, Settings};
use crate::closing::Closing;
use crate::cluster::local::Begin;
use crate::failure::Failure;
use crate::settings;

/// What a node is started with.
pub(crate) struct Cluster {
    pub(crate) url: EngineUrl,
    pub(crate) options: ClusterOptions,
    /// The options as they were given: defaults give way to the engine's limits.
    pub(crate) given: Settings,
}

/// Completes with the reason when the log on disk fails.
pub(crate) type LogFailure = Pin<Box<dyn Future<Output = String> + Send>>;

/// A hub with its log, and the node that it may be.
pub(crate) struct Opened {
    pub(crate) hub: Hub,
    pub(crate) node: Option<Node>,
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
        engine::check(&*setup, requirements(hub, access)).await?;
        let begin = Begin::of(&state);
        let (hub, node, failure): (_, _, LogFailure) = match &hub.log {
            LogPlace::Memory => {
                let log = local::memory(&*engine, hub, begin).await?;
                let (hub, node) = start_on(log, engine, hub).await?;
                (hub, node, Box::pin(pending()))
            }
            LogPlace::Disk(folder) => {
                let log = local::disk(&*engine, folder, hub, begin).await?;
                log.compact(hub.compact.clone());
                closing.wait_for(log.closed());
                tokio::spawn(log.answering());
                let failure = Box::pin(log.failure());
                let (hub, node) = start_on(log, engine, hub).await?;
                (hub, node, failure)
            }
        };
        access.readiness = self.readiness(&node);
        let counted = node.clone();
        access.metrics.add_figures(move || reports::figures(&counted));
        Ok(Opened { hub, node: Some(node), failure })
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
        command::report(&*setup, requirements(hub, access)).await
    }

    /// Lowers the default limits of events and batches to what a message of the engine holds.
    fn fit(&self, access: &mut Options, state: &State) -> Result<(), Failure> {
        // Topics, keys and the like are in the message, too.
        let most = state.payload - state.payload / 16;
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
    StartAgain(String),
    Failed(Failure),
}

/// Completes when the node must not serve any longer.
pub(crate) async fn end(node: Node) -> NodeEnd {
    match node.stopped().await {
        Stopped::Diverged(why) => {
            warn!(%why, "this node's log and the engine differ: starting again");
            NodeEnd::StartAgain(why.to_string())
        }
        stopped => NodeEnd::Failed(Failure::failed(stopped)),
    }
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
    engine: Arc<dyn Engine>,
    hub: &HubOptions,
) -> Result<(Hub, Node), Failure>
where
    L: Append + AppendAt + Read + 'static,
{
    let mut options = carafe_cluster::ClusterOptions::default();
    options.waiting_bytes = settings::bytes(hub.waiting_bytes);
    options.erasures = hub.erasures;
    let log = ClusterLog::start(engine, log, options).await.map_err(Failure::failed)?;
    let node = log.node();
    Ok((Hub::with_limits(log, settings::hub_limits(hub)), node))
}
