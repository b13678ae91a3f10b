//! A server in one configuration.

use std::fmt;
use std::fs;

use tempfile::TempDir;

use crate::contest;
use crate::driver::Load;
use crate::floor::Writes;
use crate::outcome::Outcome;
use crate::server::{Server, Setup};
use crate::subject::Subject;

use super::setting::Setting;

/// Where the logs on disk are, in folders that are removed afterwards.
const FOLDER: &str = "target/bench";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Contestant {
    pub(super) subject: Subject,
    /// Whether an event is on the disk before it is acknowledged.
    durable: bool,
    tls: bool,
}

pub(super) const FLOOR: Contestant = Contestant::new(Subject::Floor(Writes::Each));
pub(super) const CARAFE: Contestant = Contestant::new(Subject::Carafe);
pub(super) const AXUM: Contestant = Contestant::new(Subject::Axum);
pub(super) const MERCURE: Contestant = Contestant::new(Subject::Mercure);
pub(super) const CENTRIFUGO: Contestant = Contestant::new(Subject::Centrifugo);
pub(super) const NCHAN: Contestant = Contestant::new(Subject::Nchan);

/// A server that runs, with the folder of its log.
pub(super) struct Running {
    pub(super) server: Server,
    /// The URL of a stream.
    pub(super) url: String,
    /// Arguments of its load.
    pub(super) arguments: Vec<String>,
    _folder: Option<TempDir>,
}

impl Contestant {
    const fn new(subject: Subject) -> Self {
        Self { subject, durable: false, tls: false }
    }

    pub(super) const fn durable(self) -> Self {
        Self { durable: true, ..self }
    }

    pub(super) const fn tls(self) -> Self {
        Self { tls: true, ..self }
    }

    pub(super) fn start(self, setting: &Setting) -> Outcome<Running> {
        let folder = if self.durable { Some(folder()?) } else { None };
        let tls = self.tls.then_some(&setting.certificate);
        let server = self.subject.start_with(&Setup {
            carafe: &setting.bench.carafe,
            core: setting.bench.server,
            log: folder.as_ref().map(TempDir::path),
            tls,
        })?;
        let trust = tls.map(|tls| format!("--ca={}", tls.chain().display()));
        let mut arguments = self.subject.publishing(&server)?;
        arguments.extend(trust);
        let url = server.url(self.subject.path());
        Ok(Running { server, url, arguments, _folder: folder })
    }
}

impl contest::Contestant for Contestant {
    fn is_optional(&self) -> bool {
        matches!(self.subject, Subject::Nchan | Subject::Mercure | Subject::Centrifugo)
    }
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.subject.name())?;
        let more = [(self.durable, ", durable"), (self.tls, ", TLS")];
        more.iter().filter(|(is, _)| *is).try_for_each(|(_, more)| f.write_str(more))
    }
}

impl Running {
    /// A load whose streams are open.
    pub(super) fn load(&self, setting: &Setting, options: &str) -> Outcome<Load> {
        Load::connected_with(&self.url, options, &self.arguments, setting.bench.load)
    }
}

fn folder() -> Outcome<TempDir> {
    fs::create_dir_all(FOLDER)?;
    Ok(tempfile::tempdir_in(FOLDER)?)
}
