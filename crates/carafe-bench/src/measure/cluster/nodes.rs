//! Hubs that are nodes of a cluster.

use crate::bench::Bench;
use crate::outcome::Outcome;
use crate::server::Server;

use super::engine::Engine;
use super::monitor::wait_until_well;

pub(super) struct Nodes(Vec<Server>);

impl Nodes {
    /// Starts so many, and returns when they follow the engine. Their logs are in memory: the
    /// engine stores the events.
    pub(super) fn start(bench: &Bench, engine: &Engine, count: usize) -> Outcome<Self> {
        let start = |_| {
            let options = ["--log", "memory:", "--cluster", engine.url()];
            let node = Server::carafe(&bench.carafe, &options, bench.server)?;
            wait_until_well(node.address, "/readyz")?;
            Ok(node)
        };
        Ok(Self((0..count).map(start).collect::<Outcome<_>>()?))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, index: usize) -> &Server {
        &self.0[index]
    }

    /// The node after this one; the same if there is only one.
    pub(super) fn after(&self, index: usize) -> &Server {
        &self.0[(index + 1) % self.0.len()]
    }

    /// Seconds of processor time so far, of all together.
    pub(super) fn processor(&self) -> Outcome<f64> {
        self.0.iter().map(Server::processor).sum()
    }
}
