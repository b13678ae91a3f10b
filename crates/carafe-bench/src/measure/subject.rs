//! The servers that are measured.

use std::path::Path;
use std::process::Command;

use clap::ValueEnum;

use crate::certificate::Certificate;
use crate::floor::Writes;
use crate::go_peers;
use crate::nginx;
use crate::outcome::Outcome;
use crate::server::{Server, Setup, this_program};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Floor(Writes),
    Carafe,
    Nchan,
    Mercure,
    Centrifugo,
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
            Self::Mercure => "Mercure",
            Self::Centrifugo => "Centrifugo",
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
            Self::Mercure => go_peers::mercure(setup),
            Self::Centrifugo => go_peers::centrifugo(setup),
        }
    }

    /// The path of the streams of `bench/{topic}`.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Mercure => "/.well-known/mercure?match=bench/{topic}",
            Self::Centrifugo => {
                // {"subs":{"bench/{topic}":{}}}
                "/connection/uni_sse?cf_connect=%7B%22subs%22:%7B%22bench/{topic}%22:%7B%7D%7D%7D"
            }
            _ => "/events/bench/{topic}",
        }
    }

    /// Arguments of the load that publish to `bench/{topic}`.
    pub(crate) fn publishing(self, server: &Server) -> Outcome<Vec<String>> {
        let arguments = match self {
            Self::Mercure => [
                "--body=topic=bench/{topic}&data={data}".into(),
                "--media-type=application/x-www-form-urlencoded".into(),
                format!("--publish-header={}", go_peers::mercure_authorization()?),
            ],
            Self::Centrifugo => [
                r#"--body={"channel":"bench/{topic}","data":"{data}"}"#.into(),
                "--media-type=application/json".into(),
                format!("--publish={}", server.url("/api/publish")),
            ],
            _ => return Ok(Vec::new()),
        };
        Ok(arguments.into())
    }
}

fn carafe(setup: &Setup<'_>) -> Outcome<Server> {
    let log = setup.log.map_or("memory:".into(), |folder| format!("disk:{}", folder.display()));
    let files = setup.tls.map(Certificate::files);
    let mut options = vec!["--log", &log];
    if let Some([chain, key]) = &files {
        options.extend(["--tls-cert", chain, "--tls-key", key]);
    }
    Server::carafe(setup.carafe, &options, setup.core)
}
