//! Servers of NATS that run beside a measurement.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::child::Program;
use crate::outcome::Outcome;
use crate::server::free_port;
use crate::usage;

use super::monitor::{ask, wait_until_well};
use super::setup::Setup;

const PROGRAM: &str = "target/clients-venv/bin/nats-server";

/// The servers of an engine. They end when this is dropped.
pub(super) struct Servers {
    running: Vec<Program>,
    places: Vec<Place>,
}

/// Where a server listens.
struct Place {
    client: SocketAddr,
    monitor: SocketAddr,
    cluster: SocketAddr,
}

impl Servers {
    /// Starts them with their files in this folder, and returns when JetStream works.
    pub(super) fn start(setup: Setup, folder: &Path, core: Option<usize>) -> Outcome<Self> {
        if !Path::new(PROGRAM).exists() {
            return Err(format!("{PROGRAM} is missing: run cargo xtask install").into());
        }
        let places = (0..setup.servers).map(|_| Place::free()).collect::<Outcome<Vec<_>>>()?;
        let mut running = Vec::new();
        for index in 0..places.len() {
            let file = folder.join(format!("n{index}.conf"));
            fs::write(&file, configuration(setup, &places, index, folder))?;
            running.push(Program::start(Command::new(PROGRAM).arg("--config").arg(file), core)?);
        }
        let servers = Self { running, places };
        servers.wait_until_well()?;
        Ok(servers)
    }

    fn wait_until_well(&self) -> Outcome {
        for (place, program) in self.places.iter().zip(&self.running) {
            wait_until_well(place.monitor, "/healthz")
                .map_err(|error| format!("nats-server: {error}: {}", program.last_words()))?;
        }
        Ok(())
    }

    /// `nats://` and the addresses of all.
    pub(super) fn url(&self) -> String {
        let addresses: Vec<_> = self.places.iter().map(|place| place.client.to_string()).collect();
        format!("nats://{}", addresses.join(","))
    }

    /// Seconds of processor time so far, of all together.
    pub(super) fn processor(&self) -> Outcome<f64> {
        let all = self.running.iter().map(|program| usage::processor(program.id()));
        Ok(all.sum::<Outcome<u64>>()? as f64 / 1e9)
    }

    /// The number of messages in the streams of the first server.
    pub(super) fn messages(&self) -> Outcome<u64> {
        let all = ask(self.places[0].monitor, "/jsz")?;
        Ok(all["messages"].as_u64().ok_or("the server does not count its messages")?)
    }
}

impl Place {
    fn free() -> Outcome<Self> {
        let address = || Ok::<_, Box<dyn std::error::Error>>(local(free_port()?));
        Ok(Self { client: address()?, monitor: address()?, cluster: address()? })
    }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn configuration(setup: Setup, places: &[Place], index: usize, folder: &Path) -> String {
    let Place { client, monitor, cluster } = &places[index];
    let store: PathBuf = folder.join(format!("n{index}"));
    let sync = if setup.synced { ", sync_interval: always" } else { "" };
    let mut text = format!(
        "server_name: n{index}\nlisten: \"{client}\"\nhttp: \"{monitor}\"\n\
         jetstream {{ store_dir: \"{}\", max_mem: 64MB, max_file: 8GB{sync} }}\n",
        store.display()
    );
    if places.len() > 1 {
        let routes: Vec<_> =
            places.iter().map(|place| format!("\"nats-route://{}\"", place.cluster)).collect();
        let routes = routes.join(", ");
        writeln!(text, "cluster {{ name: bench, listen: \"{cluster}\", routes: [{routes}] }}")
            .expect("a String takes all");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(setup: Setup) -> String {
        let place = |port| Place {
            client: local(port),
            monitor: local(port + 1),
            cluster: local(port + 2),
        };
        let places: Vec<_> =
            (0..setup.servers).map(|index| place(4000 + 10 * index as u16)).collect();
        configuration(setup, &places, 0, Path::new("/folder"))
    }

    #[test]
    fn one_server_has_no_routes_and_several_have_one_to_each() {
        let one = configured(Setup::ONE);
        assert!(one.contains("listen: \"127.0.0.1:4000\"\nhttp: \"127.0.0.1:4001\""), "{one}");
        assert!(!one.contains("cluster") && !one.contains("sync_interval"), "{one}");
        let three = configured(Setup::REPLICATED);
        let routes = "listen: \"127.0.0.1:4002\", routes: [\"nats-route://127.0.0.1:4002\", \
                      \"nats-route://127.0.0.1:4012\", \"nats-route://127.0.0.1:4022\"]";
        assert!(three.contains(routes), "{three}");
    }

    #[test]
    fn a_server_that_syncs_each_message_is_configured_to() {
        assert!(configured(Setup::SYNCED).contains("max_file: 8GB, sync_interval: always }"));
    }
}
