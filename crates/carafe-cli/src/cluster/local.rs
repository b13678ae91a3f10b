//! The node's own copy of the log, brought to where it can follow the engine.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use carafe_cluster::{Belief, Engine, Plan, PlanError, State, begin_after};
use carafe_log::{AppendAt, BoxFuture, DiskLog, MemoryLog, OfflineLog, OpenError, Read};
use carafe_protocol::{Generation, Offset};
use tracing::warn;

use crate::cli::HubOptions;
use crate::cluster::engine::patiently;
use crate::cluster::old_copies;
use crate::failure::Failure;
use crate::log_command::fill_again;
use crate::settings;

/// How often a node starts over because the engine has changed while it compared its log.
const ATTEMPTS: usize = 5;

/// Where a new log begins.
#[derive(Clone, Copy)]
pub(super) struct Begin {
    generation: Generation,
    after: Offset,
}

impl Begin {
    /// At the first message that the engine has.
    pub(super) fn of(state: &State) -> Self {
        Self { generation: state.identity.generation, after: begin_after(state) }
    }
}

/// A log in memory. It is empty, so that it always fits.
pub(super) async fn memory(
    engine: &dyn Engine,
    options: &HubOptions,
    mut begin: Begin,
) -> Result<MemoryLog, Failure> {
    let belief = Belief::default();
    for _ in 0..ATTEMPTS {
        let log = MemoryLog::with_generation(settings::memory_limits(options), begin.generation)
            .beginning_after(begin.after);
        match compare(engine, &log, &belief).await?.map_err(Failure::failed)? {
            Plan::GoOn => return Ok(log),
            Plan::Clear { generation, after, .. } => begin = Begin { generation, after },
            Plan::GoBack { why, .. } => return Err(Failure::failed(why)),
        }
    }
    Err(Failure::failed(RESTLESS))
}

/// A log on disk, and what completes when it fails. What does not agree with the engine is removed
/// from it.
pub(super) async fn disk(
    engine: &dyn Engine,
    log_folder: &Path,
    options: &HubOptions,
    mut begin: Begin,
    belief: &Belief,
) -> Result<(DiskLog, BoxFuture<'static, String>), Failure> {
    for _ in 0..ATTEMPTS {
        let folder = folder_of(log_folder, begin.generation);
        let log = open(&folder, options, begin)?;
        let plan = compare(engine, &log, belief).await?;
        match plan.map_err(|error| Failure::failed(of_copy(&error, &folder)))? {
            Plan::GoOn => {
                old_copies::name(log_folder, &folder);
                let failure = log.failure();
                return Ok((log, Box::pin(async move { of_copy(&failure.await, &folder) })));
            }
            Plan::GoBack { to, why } => {
                warn!(%why, to = %to, "this node's log goes back to where the engine is");
                close(log).await;
                let copy = OfflineLog::lock(&folder)?;
                // What was lost may have made compaction remove an older event.
                match options.compact.is_empty() {
                    true => copy.go_back(to.offset)?,
                    false => copy.clear()?,
                }
            }
            Plan::Clear { generation, after, why } => {
                close(log).await;
                if generation == begin.generation {
                    warn!(%why, "this node's log is cleared, and filled again from the engine");
                    OfflineLog::lock(&folder)?.clear()?;
                }
                begin = Begin { generation, after };
            }
        }
    }
    Err(Failure::failed(RESTLESS))
}

/// What has to be done with a log before it can follow the engine.
async fn compare(
    engine: &dyn Engine,
    log: &(impl AppendAt + Read),
    belief: &Belief,
) -> Result<Result<Plan, PlanError>, Failure> {
    patiently(|| async {
        match belief.plan(engine, log).await {
            Ok(plan) => Ok(Ok(plan)),
            Err(PlanError::Engine(error)) => Err(error),
            Err(error) => Ok(Err(error)),
        }
    })
    .await
}

const RESTLESS: &str = "the engine of the cluster has changed again and again while this node \
    compared its log: start it again when the engine is stable";

/// A folder for each stream: the copy of a stream that was deleted stays, and so does the log of a
/// hub that was no node.
fn folder_of(log: &Path, generation: Generation) -> PathBuf {
    log.join(format!("{}{generation}", old_copies::PREFIX))
}

fn open(folder: &Path, options: &HubOptions, begin: Begin) -> Result<DiskLog, Failure> {
    let options = settings::disk_options(options)
        .with_supplied(begin.generation)
        .beginning_after(begin.after);
    DiskLog::open(folder, options).map_err(|error| match error {
        OpenError::Damaged(_) => Failure::failed(format!("{error}; {}", fill_again(folder))),
        error => Failure::failed(error),
    })
}

/// Why a copy cannot be used, and what helps if that lasts.
fn of_copy(why: &impl Display, folder: &Path) -> String {
    format!("{why}; if it fails again, {}", fill_again(folder))
}

/// Waits until the log may be opened again.
async fn close(log: DiskLog) {
    let closed = log.closed();
    drop(log);
    closed.await;
}
