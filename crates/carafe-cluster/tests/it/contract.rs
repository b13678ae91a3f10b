//! What every engine has to do, on one server.

use std::sync::Arc;

use carafe_cluster::Setup;
use carafe_cluster::contract::Subject;
use carafe_log::BoxFuture;
use carafe_testing::nats::{self, NatsServers};

use crate::servers::{engine, start, with};

const STREAM: &str = "CONTRACT";

struct Nats {
    servers: Arc<NatsServers>,
    engine: Arc<dyn Setup>,
}

impl Subject for Nats {
    fn start(test: &'static str, payload: usize) -> BoxFuture<'static, Option<Self>> {
        assert_eq!(payload, 65_536);
        Box::pin(async {
            if !nats::is_here(test) {
                return None;
            }
            let servers = start(1, "max_payload: 66560").await;
            let engine = engine(&servers, STREAM).await;
            Some(Self { servers, engine })
        })
    }

    fn engine(&self) -> Arc<dyn Setup> {
        Arc::clone(&self.engine)
    }

    fn insert_foreign(&self, payload: &'static [u8]) -> BoxFuture<'_, ()> {
        let text = str::from_utf8(payload).unwrap();
        Box::pin(with(&self.servers, move |servers| {
            servers.publish(&format!("carafe.{STREAM}"), text);
        }))
    }

    fn trim(&self, first: u64) -> BoxFuture<'_, ()> {
        Box::pin(with(&self.servers, move |servers| servers.trim(STREAM, first)))
    }
}

carafe_cluster::contract::tests!(Nats, flavor = "multi_thread", worker_threads = 2);
