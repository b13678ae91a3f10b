//! Reaching the engine at the start of a node, and checking that the node can use it.

use std::sync::Arc;
use std::time::Duration;

use carafe_cluster::{Created, EngineError, Finding, Requirements, Setup, Severity};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::cli::{ClusterOptions, EngineUrl};
use crate::cluster::credentials;
use crate::failure::Failure;

/// How long a node tries to reach the engine when it starts. The servers of the engine may start
/// at the same time.
const PATIENCE: Duration = Duration::from_secs(30);

/// The pause between attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// Repeats what the engine cannot do at the moment, for a while.
pub(super) async fn patiently<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, EngineError>>,
{
    let deadline = Instant::now() + PATIENCE;
    let mut is_first = true;
    loop {
        let reason = match attempt().await {
            Ok(done) => return Ok(done),
            Err(EngineError::Unavailable(reason)) => reason,
            Err(error) => return Err(failed(&error)),
        };
        if Instant::now() >= deadline {
            return Err(failed(&EngineError::Unavailable(reason)));
        }
        if std::mem::take(&mut is_first) {
            warn!(reason, "the engine of the cluster is away; trying again for {PATIENCE:?}");
        }
        sleep(PAUSE).await;
    }
}

/// Opens the engine and creates its stream if that is missing.
pub(super) async fn open(
    url: &EngineUrl,
    options: &ClusterOptions,
    requirements: Requirements,
) -> Result<Arc<dyn Setup>, Failure> {
    let engine = credentials::resolve(url, &options.access)?;
    let setup = patiently(|| carafe_cluster::open(engine.clone())).await?;
    if let Created::New = patiently(|| setup.create(requirements)).await? {
        info!("created the stream of the cluster: {url}");
    }
    Ok(setup)
}

/// Warns about what should be changed, and fails if the node cannot use the engine as it is.
pub(super) async fn check(setup: &dyn Setup, requirements: Requirements) -> Result<(), Failure> {
    let findings = patiently(|| setup.check(requirements)).await?;
    let of = |severity| findings.iter().filter(move |finding| finding.severity == severity);
    for Finding { setting, text, .. } in of(Severity::Warning) {
        warn!("the engine of the cluster: {setting}: {text}");
    }
    let refusals: Vec<_> = of(Severity::Refusal)
        .map(|Finding { setting, text, .. }| format!("{setting}: {text}"))
        .collect();
    match refusals.is_empty() {
        true => Ok(()),
        false => Err(Failure::failed(format!(
            "this node cannot use the engine of the cluster: {}",
            refusals.join("; ")
        ))),
    }
}

pub(super) fn failed(error: &EngineError) -> Failure {
    match error {
        EngineError::Missing => Failure::failed(
            "the stream does not exist: create it with carafe cluster create, or start a node",
        ),
        EngineError::Unavailable(reason) => Failure::failed(format!(
            "no server of the cluster's engine answers: {reason}; start one, or check the \
             addresses in --cluster"
        )),
        error => Failure::failed(format!("the engine of the cluster: {error}")),
    }
}
