//! `carafe cluster`: checks the engine of a cluster, and creates its stream.

use std::sync::Arc;

use carafe_cluster::{Created, EngineError, Requirements, Setup, Severity};

use crate::cli::{ClusterCommand, EngineOptions};
use crate::cluster::credentials;
use crate::cluster::engine::failed;
use crate::failure::Failure;
use crate::output::Output;
use crate::settings;

pub(crate) async fn run(command: ClusterCommand) -> Result<(), Failure> {
    match command {
        ClusterCommand::Check(options) => check(&options).await,
        ClusterCommand::Create(options) => create(&options).await,
    }
}

/// Prints one line for each thing that was checked.
async fn check(options: &EngineOptions) -> Result<(), Failure> {
    let setup = open(options).await?;
    report(&*setup, requirements(options)).await
}

/// Prints what was found. Fails if a node could not use the engine.
pub(super) async fn report(setup: &dyn Setup, requirements: Requirements) -> Result<(), Failure> {
    let findings = setup.check(requirements).await.map_err(|error| failed(&error))?;
    let mut output = Output::new();
    for finding in &findings {
        let severity = match finding.severity {
            Severity::Right => "",
            Severity::Warning => "warning: ",
            Severity::Refusal => "refused: ",
        };
        output.line(&format!("{:<16} {severity}{}", finding.setting, finding.text))?;
    }
    match findings.iter().filter(|finding| finding.severity == Severity::Refusal).count() {
        0 => Ok(()),
        1 => Err(Failure::failed("nodes cannot use the engine: change what is refused")),
        count => Err(Failure::failed(format!(
            "nodes cannot use the engine for {count} reasons: change what is refused"
        ))),
    }
}

async fn create(options: &EngineOptions) -> Result<(), Failure> {
    let setup = open(options).await?;
    let created = setup.create(requirements(options)).await.map_err(|error| failed(&error))?;
    Ok(Output::new().line(match created {
        Created::New => "created the stream",
        Created::Existed => "the stream exists, and was not changed",
    })?)
}

async fn open(options: &EngineOptions) -> Result<Arc<dyn Setup>, Failure> {
    let engine = credentials::resolve(&options.url, &options.access)?;
    carafe_cluster::open(engine).await.map_err(|error| match &error {
        EngineError::Unavailable(_) => Failure::failed(format!("{}: {error}", options.url)),
        _ => failed(&error),
    })
}

fn requirements(options: &EngineOptions) -> Requirements {
    Requirements {
        event_bytes: options.event_bytes.map_or(0, settings::bytes),
        history_age: options.history_age,
        history_bytes: options.history_bytes.map(|size| size.as_u64()),
        key_window: options.key_window,
    }
}
