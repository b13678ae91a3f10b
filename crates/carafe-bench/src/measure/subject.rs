//! The servers that are measured.

use std::path::Path;
use std::process::Command;

use clap::ValueEnum;

use crate::floor::Writes;
use crate::nginx;
use crate::outcome::Outcome;
use crate::server::{Server, Setup, this_program};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Floor(Writes),
    Carafe,
    Nchan,
    Axum,
    Express,
    BetterSse,
}

impl Subject {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor(Writes::Each) => "floor, one write each",
            Self::Floor(Writes::Coalesced) => "floor, coalescing",
            Self::Carafe => "Carafe",
            Self::Nchan => "nginx with nchan",
            Self::Axum => "axum Sse + broadcast",
            Self::Express => "Express",
            Self::BetterSse => "better-sse",
        }
    }

    pub(crate) fn start(self, carafe: &Path, core: Option<usize>) -> Outcome<Server> {
        let server = self.start_with(&Setup { carafe, core, log: None, tls: None });
        server.map_err(|error| format!("{}: {error}", self.name()).into())
    }

    /// Not every server can be durable, or have TLS.
    pub(crate) fn start_with(self, setup: &Setup<'_>) -> Outcome<Server> {
        let core = setup.core;
        match self {
            Self::Floor(writes) => {
                let value = writes.to_possible_value().ok_or("the floor has no such writes")?;
                Server::start(this_program()?.args(["floor", value.get_name()]), core)
            }
            Self::Carafe => carafe(setup),
            Self::Axum => Server::start(this_program()?.arg("axum-peer"), core),
            Self::Express => {
                Server::start(Command::new("node").arg("bench/peers/express/server.mjs"), core)
            }
            Self::BetterSse => {
                Server::start(Command::new("node").arg("bench/peers/better-sse/server.mjs"), core)
            }
            Self::Nchan => nginx::nchan(setup),
        }
    }
}

fn carafe(setup: &Setup<'_>) -> Outcome<Server> {
    let log = setup.log.map_or("memory:".into(), |folder| format!("disk:{}", folder.display()));
    let files =
        setup.tls.map(|tls| [tls.chain(), tls.key()].map(|file| file.display().to_string()));
    let mut options = vec!["--log", &log];
    if let Some([chain, key]) = &files {
        options.extend(["--tls-cert", chain, "--tls-key", key]);
    }
    Server::carafe(setup.carafe, &options, setup.core)
}
