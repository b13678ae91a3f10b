//! When a hub that has started serves clients.

use std::time::Duration;

use carafe_cluster::Node;
use carafe_http::{Readiness, Revocations};
use tokio::time::timeout;
use tracing::info;

use crate::cluster::Gate;
use crate::ending::Ending;
use crate::failure::Failure;

/// How long clients wait in the queue of the socket for a step of the start. Behind a load balancer
/// that does not ask whether a node is ready, a client that is told to come back has reconnected
/// twice for one restart.
pub(crate) const CLIENTS_WAIT: Duration = Duration::from_secs(2);

/// Lets clients in when the log has what the engine has, and the hub knows what is revoked.
pub(crate) async fn let_in(
    filling: Option<(Node, Gate)>,
    revocations: Revocations,
    readiness: Readiness,
) -> Result<(), Failure> {
    revocations.load().await.map_err(Failure::failed)?;
    // Only now: its log may trim a revocation soon after it was read from the engine.
    if let Some((node, gate)) = filling {
        gate.open();
        node.filled().await;
        info!("this node has what the engine has: clients are let in");
    }
    readiness.open();
    Ok(())
}

/// Waits for the end of something, which for a node may come later: then it is returned.
pub(crate) async fn ended_soon(
    letting_in: impl Future<Output = Result<(), Failure>> + Send + 'static,
    is_node: bool,
) -> Result<Option<Ending>, Failure> {
    let mut letting_in: Ending = Box::pin(letting_in);
    if !is_node {
        return letting_in.await.map(|()| None);
    }
    match timeout(CLIENTS_WAIT, &mut letting_in).await {
        Ok(done) => done.map(|()| None),
        Err(_) => {
            info!("this node is filling, and rejects clients until it has what the engine has");
            Ok(Some(letting_in))
        }
    }
}
