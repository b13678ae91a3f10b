//! The engine of a cluster: servers of NATS and a stream, in a folder that is removed afterwards.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::bench::Bench;
use crate::outcome::Outcome;

use super::servers::Servers;
use super::setup::Setup;

const FOLDER: &str = "target/bench";

/// The name of the stream. `carafe cluster create` derives its subject.
pub(super) const STREAM: &str = "bench";
pub(super) const SUBJECT: &str = "carafe.bench";

pub(super) struct Engine {
    servers: Servers,
    /// Of the stream, as nodes take it.
    url: String,
    _folder: TempDir,
}

impl Engine {
    /// Starts an engine with an empty stream that has the settings of a cluster, so that it is the
    /// same for nodes and for a client of the engine.
    pub(super) fn start(bench: &Bench, setup: Setup) -> Outcome<Self> {
        fs::create_dir_all(FOLDER)?;
        let folder = tempfile::tempdir_in(fs::canonicalize(FOLDER)?)?;
        let servers = Servers::start(setup, folder.path(), bench.server)?;
        let url = format!("{}/{STREAM}?replicas={}", servers.url(), setup.servers);
        let engine = Self { servers, url, _folder: folder };
        engine.create_stream(bench)?;
        Ok(engine)
    }

    fn create_stream(&self, bench: &Bench) -> Outcome {
        let output = Command::new(&bench.carafe).args(["cluster", "create", &self.url]).output()?;
        if output.status.success() {
            return Ok(());
        }
        let reason = String::from_utf8_lossy(&output.stderr);
        Err(format!("carafe cluster create: {}", reason.trim()).into())
    }

    /// As nodes take it.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// As a client of the engine takes it.
    pub(super) fn servers(&self) -> String {
        self.servers.url()
    }

    /// The number of messages in the stream.
    pub(super) fn messages(&self) -> Outcome<u64> {
        self.servers.messages()
    }

    /// Seconds of processor time so far.
    pub(super) fn processor(&self) -> Outcome<f64> {
        self.servers.processor()
    }
}
