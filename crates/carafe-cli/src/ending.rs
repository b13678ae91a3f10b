//! What ends a hub that nobody stops.

use std::future::pending;
use std::pin::Pin;

use carafe_cluster::Node;

use crate::closing::Closing;
use crate::cluster::{self, LogFailure, NodeEnd};
use crate::failure::Failure;

/// Completes when the hub must end: with `Ok` to start again.
pub(crate) type Ending = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// What ends a hub that nobody stops: its log fails, or its node cannot go on. `again` is told if a
/// new start is all it needs.
pub(crate) async fn ending(
    node: Option<Node>,
    failure: LogFailure,
    letting_in: Option<Ending>,
    again: Option<Closing>,
) -> Result<(), Failure> {
    let node_ends = async {
        match node {
            Some(node) => cluster::end(node).await,
            None => pending().await,
        }
    };
    let not_let_in = async {
        match letting_in {
            Some(letting_in) => letting_in.await.err(),
            None => None,
        }
    };
    tokio::select! {
        // A node whose log fails stops, too: the log knows what to do.
        biased;
        reason = failure => Err(Failure::failed(format!("the log failed: {reason}"))),
        Some(failure) = not_let_in => Err(failure),
        end = node_ends => match (end, again) {
            (NodeEnd::StartAgain(why), Some(closing)) => {
                closing.start_again(why);
                Ok(())
            }
            (NodeEnd::StartAgain(why), None) => Err(Failure::failed(format!("{why}: start the hub again"))),
            (NodeEnd::Failed(failure), _) => Err(failure),
        },
    }
}
