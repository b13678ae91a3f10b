//! Runs an app on a listener until it is told to stop, and then drains it.

use std::io;

use axum::Router;
use carafe_fanout::ShardPool;
use carafe_hub::Hub;
use tokio::sync::watch;
use tracing::warn;

use crate::answer::limit::Limit;
use crate::observe::stream_record::StreamRecord;
use crate::server::acceptor::Acceptor;
use crate::server::drain::{Served, drain};
use crate::server::kernel_tls;
use crate::server::listener::{Listener, Listeners};
use crate::server::options::ServerOptions;

/// Serves `app` on one or more [`Listeners`] over HTTP/1 and HTTP/2 until `stop` completes, and
/// then drains: the hub takes no new streams and events, the server no new connections, and every
/// stream ends after the events that are stored by then, a share of them at a time.
///
/// # Errors
///
/// Fails before anything is served if the listener cannot be polled.
///
/// ```no_run
/// use carafe_http::{Options, router, serve};
/// use carafe_hub::Hub;
/// use carafe_log::MemoryLog;
///
/// # async fn signal() {}
/// # #[tokio::main] async fn main() -> std::io::Result<()> {
/// let (hub, options) = (Hub::new(MemoryLog::default()), Options::default());
/// let server = options.server();
/// let app = router(hub.clone(), options);
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// let served = serve(listener, app, &hub, server, signal()).await?;
/// println!("{} streams were cut", served.cut);
/// # Ok(()) }
/// ```
pub async fn serve(
    listeners: impl Into<Listeners>,
    app: Router,
    hub: &Hub,
    options: ServerOptions,
    stop: impl Future<Output = ()>,
) -> io::Result<Served> {
    let listener = Listener::new(listeners.into(), &options.shards)?;
    if options.tls.is_some() {
        kernel_tls::report();
    }
    let shards = shards(hub, &options);
    let reviews = review(options.shared.revocations.changes(), shards.clone());
    let acceptor = Acceptor::new(app, &options, shards);
    tokio::select! {
        () = stop => {}
        () = acceptor.accept(listener) => {}
        () = reviews => {}
    }
    // The settings hold the shards, which have to deliver until the hub is drained.
    let (connections, _settings) = acceptor.stop();
    let served = drain(&hub.drain(), connections, options.drain_timeout).await;
    if served.cut > 0 {
        options.shared.metrics.limited(Limit::DrainTimeout);
    }
    Ok(served)
}

/// Serves an `app` without a hub's streams, such as [`metrics_router`](crate::metrics_router),
/// until the future is dropped.
///
/// # Errors
///
/// Fails if the listener cannot be polled.
///
/// ```no_run
/// use carafe_http::{Options, ServerOptions, metrics_router, serve_beside};
/// use carafe_hub::Hub;
/// use carafe_log::MemoryLog;
///
/// # #[tokio::main] async fn main() -> std::io::Result<()> {
/// let (hub, options) = (Hub::new(MemoryLog::default()), Options::default());
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:9090").await?;
/// let metrics = metrics_router(&options, hub);
/// tokio::spawn(serve_beside(listener, metrics, ServerOptions::default())?);
/// # Ok(()) }
/// ```
pub fn serve_beside<L: Into<Listeners>>(
    listeners: L,
    app: Router,
    options: ServerOptions,
) -> io::Result<impl Future<Output = ()> + Send + use<L>> {
    let listener = Listener::new(listeners.into(), &options.shards)?;
    Ok(async move { Acceptor::new(app, &options, None).accept(listener).await })
}

/// Lets the shards look for streams whose rights were revoked, after each change of the
/// revocations. Never completes.
async fn review(mut changes: watch::Receiver<u64>, shards: Option<ShardPool<StreamRecord>>) {
    while changes.changed().await.is_ok() {
        shards.iter().for_each(ShardPool::review);
    }
    // The revocations are gone, and nothing can be revoked any more.
    std::future::pending::<()>().await;
}

/// The shards, with their helpers; `None` if the system has none. Then hyper delivers the streams.
fn shards(hub: &Hub, options: &ServerOptions) -> Option<ShardPool<StreamRecord>> {
    if cfg!(not(target_os = "linux")) {
        return None;
    }
    let shards = ShardPool::start(hub, &options.shards, options.shared.heartbeat)
        .inspect_err(|error| warn!(%error, "cannot start shards; hyper delivers all streams"))
        .ok()?;
    shards.helpers().for_each(|helper| drop(tokio::spawn(helper)));
    Some(shards)
}
