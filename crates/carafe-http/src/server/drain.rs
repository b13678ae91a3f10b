//! Drains a server when it stops: the hub's streams, paced, and all connections.

use std::time::Duration;

use carafe_hub::Drain;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::time::{sleep, timeout};

use crate::answer::stream_drain::end_streams;

/// How serving ended.
///
/// ```no_run
/// use carafe_http::{HubExt, Served, ServerOptions, serve};
/// use carafe_hub::Hub;
/// use carafe_log::MemoryLog;
///
/// # async fn signal() {}
/// # #[tokio::main] async fn main() -> std::io::Result<()> {
/// let hub = Hub::new(MemoryLog::default());
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// let options = ServerOptions::default();
/// let served: Served = serve(listener, hub.router(), &hub, options, signal()).await?;
/// if served.cut > 0 {
///     eprintln!("{} streams did not end in time", served.cut);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Served {
    /// Streams that were cut because they did not end within the drain time.
    pub cut: usize,
}

/// Drains the hub and the connections of a server within this time.
pub(crate) async fn drain(drain: &Drain, connections: GracefulShutdown, time: Duration) -> Served {
    // hyper closes idle connections at once, and the others when their response ends.
    let ended = async {
        tokio::join!(end_streams(drain, time / 2), connections.shutdown(), all_ended(drain))
    };
    match timeout(time, ended).await {
        Ok(_) => Served { cut: 0 },
        Err(_) => Served { cut: drain.open() },
    }
}

/// Waits for the streams of the shards: hyper has no connection for them.
async fn all_ended(drain: &Drain) {
    // Polled: the end of a stream on a shard wakes no task, and draining happens once.
    while drain.open() > 0 {
        sleep(Duration::from_millis(10)).await;
    }
}
