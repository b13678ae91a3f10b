//! The accept loop: decides which connections are served, and spawns a task for each.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use carafe_fanout::ShardPool;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::sleep;
use tracing::warn;

use crate::answer::limit::Limit;
use crate::answer::stream_drain::StreamDrain;
use crate::observe::log_interval::LogInterval;
use crate::observe::metrics::Metrics;
use crate::observe::stream_record::StreamRecord;
use crate::policy::address::Proxies;
use crate::policy::subscribers::{ConnectionPermit, Subscribers};
use crate::server::connection::{Connection, ConnectionSettings};
use crate::server::descriptors::{Descriptors, Room};
use crate::server::idle::Idle;
use crate::server::lazy_socket::LazySocket;
use crate::server::listener::Listener;
use crate::server::options::ServerOptions;

/// Connections that are accepted before their tasks run: what a task frees, the next can use.
const AT_ONCE: usize = 16;

/// How often rejected connections are logged, for both limits.
static DESCRIPTORS_LOG: LogInterval = LogInterval::every(Duration::from_secs(60));
static ADDRESS_LOG: LogInterval = LogInterval::every(Duration::from_secs(60));

/// Accepts the connections of a server's listeners.
pub(crate) struct Acceptor {
    settings: Arc<ConnectionSettings>,
    /// Dropped to end connections whose clients have sent nothing yet, and handshakes.
    silent: watch::Sender<()>,
    connections: GracefulShutdown,
    streams: StreamDrain,
    idle: Idle,
    descriptors: Descriptors,
    subscribers: Subscribers,
    proxies: Proxies,
    metrics: Metrics,
}

impl Acceptor {
    pub(crate) fn new(
        app: Router,
        options: &ServerOptions,
        shards: Option<ShardPool<StreamRecord>>,
    ) -> Self {
        let (shared, streams) = (options.shared.clone(), StreamDrain::default());
        let metrics = shared.metrics.clone();
        options.shards.catch_up.on_refused(move || metrics.limited(Limit::CatchUpBytes));
        Self {
            settings: Arc::new(ConnectionSettings::new(app, options, shards, streams.clone())),
            silent: watch::Sender::new(()),
            connections: GracefulShutdown::new(),
            streams,
            idle: Idle::new(),
            descriptors: Descriptors::of(options.descriptors),
            subscribers: shared.subscribers,
            proxies: shared.proxies,
            metrics: shared.metrics,
        }
    }

    /// Ends silent connections and the event streams of handlers. Returns the other connections,
    /// and what they use.
    pub(crate) fn stop(self) -> (GracefulShutdown, Arc<ConnectionSettings>) {
        self.streams.start();
        (self.connections, self.settings)
    }

    pub(crate) async fn accept(&self, mut listener: Listener) {
        for accepted in 1_usize.. {
            if accepted.is_multiple_of(AT_ONCE) {
                yield_now().await;
            }
            match poll_fn(|cx| listener.poll_accept(cx)).await {
                Ok((socket, peer)) => self.admit(socket, peer).await,
                Err(error) => {
                    self.metrics.limited(Limit::Descriptors);
                    if !is_client_gone(&error) && !self.close_idle().await {
                        warn!(%error, "cannot accept connections; trying again in a second");
                        sleep(Duration::from_secs(1)).await;
                    }
                }
            }
        }
    }

    /// Serves a new connection, if its address may have one more and there are descriptors. Others
    /// are closed without a response, which would cost more than the connection. Browsers reconnect
    /// by themselves.
    async fn admit(&self, socket: TcpStream, peer: SocketAddr) {
        let Ok(permit) = self.permit(peer.ip()) else {
            self.metrics.limited(Limit::ConnectionsPerAddress);
            if ADDRESS_LOG.is_due() {
                let address = peer.ip();
                warn!(
                    %address,
                    "an address has reached the limit of connections per address; if it is a \
                     proxy, name it with --trusted-proxies"
                );
            }
            return;
        };
        if self.has_room_for(&socket).await {
            return self.serve(socket, peer, permit);
        }
        self.metrics.limited(Limit::Descriptors);
        if DESCRIPTORS_LOG.is_due() {
            warn!("connections use all descriptors and none is idle; closing new connections");
        }
    }

    /// Whether a new connection may keep its descriptor. Idle connections give way.
    async fn has_room_for(&self, newest: &TcpStream) -> bool {
        match self.descriptors.room(newest) {
            Room::Enough => true,
            Room::Little => {
                self.close_idle().await;
                true
            }
            // The new connection replaces an idle one. A second idle one is closed, so that there
            // is more room than before.
            Room::None => {
                let gave_way = self.close_idle().await;
                if gave_way {
                    self.close_idle().await;
                }
                gave_way
            }
        }
    }

    /// The connections of a proxy, or over a Unix socket, carry many clients, and are not limited.
    fn permit(&self, peer: IpAddr) -> Result<Option<ConnectionPermit>, Limit> {
        if self.proxies.trusts(peer.to_canonical()) {
            return Ok(None);
        }
        self.subscribers.connect(peer.into()).map(Some)
    }

    /// Closes the connection that has been idle for the longest, and lets its task end; `false` if
    /// none is idle.
    async fn close_idle(&self) -> bool {
        let closed = self.idle.close_oldest();
        if closed {
            self.metrics.limited(Limit::IdleConnections);
            yield_now().await;
        }
        closed
    }

    fn serve(&self, socket: TcpStream, peer: SocketAddr, permit: Option<ConnectionPermit>) {
        let entry = self.idle.register();
        let key = entry.key();
        let (settings, watcher) = (Arc::clone(&self.settings), self.connections.watcher());
        let connection = Connection { settings, watcher, entry, peer };
        let socket = LazySocket::new(socket, permit);
        let task = tokio::spawn(connection.begin(socket, self.silent.subscribe()));
        self.idle.is_driven_by(key, task.abort_handle());
    }
}

/// A client that left before its connection was accepted is not an error of the listener. Running
/// out of descriptors is one, and must not spin.
fn is_client_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
