//! A server in one configuration.

use std::fs;

use tempfile::TempDir;

use crate::bench::Bench;
use crate::floor::Writes;
use crate::outcome::Outcome;
use crate::subject::{Server, Subject};

/// Where the logs on disk are, in folders that are removed afterwards.
const FOLDER: &str = "target/bench";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Contestant {
    pub(super) subject: Subject,
    /// Whether an event is on the disk before it is acknowledged.
    pub(super) durable: bool,
}

pub(super) const FLOOR: Contestant = Contestant::new(Subject::Floor(Writes::Each));
pub(super) const CARAFE: Contestant = Contestant::new(Subject::Carafe);
pub(super) const AXUM: Contestant = Contestant::new(Subject::Axum);
pub(super) const NCHAN: Contestant = Contestant::new(Subject::Nchan);

/// A server that runs, with the folder of its log.
pub(super) struct Running {
    pub(super) server: Server,
    _folder: Option<TempDir>,
}

impl Contestant {
    const fn new(subject: Subject) -> Self {
        Self { subject, durable: false }
    }

    pub(super) const fn durable(self) -> Self {
        Self { durable: true, ..self }
    }

    pub(super) fn name(self) -> String {
        let Self { subject, durable } = self;
        format!("{}{}", subject.name(), if durable { ", durable" } else { "" })
    }

    /// Whether the measurement can do without it.
    pub(super) fn is_optional(self) -> bool {
        self.subject == Subject::Nchan
    }

    pub(super) fn start(self, bench: &Bench) -> Outcome<Running> {
        if !self.durable {
            let server = self.subject.start(&bench.carafe, bench.server)?;
            return Ok(Running { server, _folder: None });
        }
        fs::create_dir_all(FOLDER)?;
        let folder = tempfile::tempdir_in(FOLDER)?;
        let log = format!("disk:{}", folder.path().join("log").display());
        let server = Server::carafe(&bench.carafe, &["--log", &log], bench.server)?;
        Ok(Running { server, _folder: Some(folder) })
    }
}
