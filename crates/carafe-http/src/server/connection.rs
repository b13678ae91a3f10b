//! Serves one connection, from its first byte to its end or until a shard takes its socket.
//!
//! Each connection has a task. Memory for it is allocated only when the client has sent something,
//! since very many connections may be opened at once.

use std::error::Error;
use std::future::{pending, poll_fn, ready};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::middleware::map_response;
use axum::response::Response;
use carafe_fanout::{SendBuffers, ShardPool};
use http::header::STRICT_TRANSPORT_SECURITY;
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::Watcher;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use crate::answer::limit::Limit;
use crate::answer::stream_drain::StreamDrain;
use crate::observe::metrics::{FallbackReason, Metrics};
use crate::observe::stream_record::StreamRecord;
use crate::server::conformance;
use crate::server::frame_guard::FrameGuard;
use crate::server::handoff::{ConnectionHandoff, Handoff};
use crate::server::handoff_socket::{GiveAway, HandoffSocket};
use crate::server::idle::ConnectionEntry;
use crate::server::lazy_socket::LazySocket;
use crate::server::options::ServerOptions;
use crate::server::protocol::{Builders, Protocol};
use crate::server::service::{Answers, ConnectionError, boxed, serve};
use crate::server::stall::{StallDetector, WatchedBody};
use crate::server::tls::Tls;
use crate::server::tls_socket::TlsSocket;
use crate::server::watched_socket::WatchedSocket;

/// What all connections of a server have in common.
pub(crate) struct ConnectionSettings {
    builders: Builders,
    app: Router,
    tls: Option<Arc<ServerConfig>>,
    shards: Option<ShardPool<StreamRecord>>,
    header_timeout: Duration,
    write_timeout: Duration,
    buffers: SendBuffers,
    streams: StreamDrain,
    metrics: Metrics,
}

impl ConnectionSettings {
    pub(crate) fn new(
        app: Router,
        options: &ServerOptions,
        shards: Option<ShardPool<StreamRecord>>,
        streams: StreamDrain,
    ) -> Self {
        Self {
            builders: Builders::new(options),
            app: if options.tls.is_some() { with_hsts(app, options.hsts) } else { app },
            tls: options.tls.as_ref().map(Tls::config),
            shards,
            header_timeout: options.header_timeout,
            write_timeout: options.shards.write_timeout,
            buffers: SendBuffers::new(&options.shards),
            streams,
            metrics: options.shared.metrics.clone(),
        }
    }
}

/// One connection.
pub(crate) struct Connection {
    pub(crate) settings: Arc<ConnectionSettings>,
    pub(crate) watcher: Watcher,
    pub(crate) entry: ConnectionEntry,
    pub(crate) peer: SocketAddr,
}

impl Connection {
    /// Serves the client once it has sent something.
    pub(crate) async fn begin(self, mut socket: LazySocket, mut stopping: watch::Receiver<()>) {
        let metrics = &self.settings.metrics;
        let deadline = Instant::now() + self.settings.header_timeout;
        let protocol = tokio::select! {
            biased;
            first = timeout_at(deadline, socket.first()) => match first {
                Ok(Ok(first)) => Protocol::of(first),
                Ok(Err(error)) => return debug!(%error, "the client left before it sent anything"),
                Err(_) => return too_late(metrics, "the client sent nothing in time"),
            },
            _ = stopping.changed() => return,
        };
        let stall = StallDetector::new(self.settings.write_timeout);
        let socket = WatchedSocket::new(socket, stall.clone(), self.settings.buffers.clone());
        match self.settings.tls.clone() {
            Some(tls) => {
                let handshake = TlsSocket::accept(socket, tls);
                // Boxed: the memory of the handshake is free while requests are served.
                let shaken = Box::pin(self.begin_tls(handshake, stall, deadline, stopping)).await;
                if let Some(served) = shaken {
                    served.await;
                }
            }
            None => {
                let handoff = self.handoff();
                self.run(socket, protocol, stall, deadline, handoff).await;
            }
        }
    }

    /// Returns what serves the requests after the handshake.
    async fn begin_tls(
        self,
        handshake: impl Future<Output = io::Result<TlsSocket>>,
        stall: StallDetector,
        deadline: Instant,
        stopping: watch::Receiver<()>,
    ) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let mut socket = self.shake_hands(handshake, deadline, stopping).await?;
        let deadline = Instant::now() + self.settings.header_timeout;
        let protocol = Protocol::by_alpn(socket.connection().alpn());
        if protocol == Protocol::Http2 {
            socket.share_writes();
        }
        let is_tls_1_3 = socket.connection().is_tls_1_3();
        let handoff = if is_tls_1_3 { self.handoff() } else { Err(FallbackReason::Tls) };
        Some(Box::pin(self.run(socket, protocol, stall, deadline, handoff)))
    }

    async fn shake_hands(
        &self,
        handshake: impl Future<Output = io::Result<TlsSocket>>,
        deadline: Instant,
        mut stopping: watch::Receiver<()>,
    ) -> Option<TlsSocket> {
        let shaken = tokio::select! {
            shaken = timeout_at(deadline, handshake) => shaken,
            _ = stopping.changed() => return None,
        };
        match shaken {
            Ok(Ok(socket)) => return Some(socket),
            Ok(Err(error)) => debug!(%error, "the TLS handshake failed"),
            Err(_) => too_late(&self.settings.metrics, "the TLS handshake took too long"),
        }
        None
    }

    /// Where the connection meets the stream that a shard takes over with it.
    fn handoff(&self) -> Result<Handoff, FallbackReason> {
        self.settings.shards.clone().map(Handoff::new).ok_or(FallbackReason::NoShards)
    }

    /// Serves all requests of the connection.
    fn run(
        self,
        socket: impl GiveAway + Send + 'static,
        protocol: Protocol,
        stall: StallDetector,
        deadline: Instant,
        handoff: Result<Handoff, FallbackReason>,
    ) -> impl Future<Output = ()> + Send {
        let Self { settings, watcher, entry, peer } = self;
        let (entry, metrics) = (Arc::new(entry), settings.metrics.clone());
        let extension = ConnectionHandoff(handoff.clone());
        let service = service(Arc::clone(&settings), Arc::clone(&entry), peer, extension);
        let handoff = handoff.ok();
        let socket = HandoffSocket::new(socket, handoff.clone());
        let socket = TokioIo::new(FrameGuard::new(socket, protocol != Protocol::Http1, &metrics));
        let builder = settings.builders.of(protocol);
        let connection = match protocol {
            Protocol::Http1 => serve(builder, socket, service, watcher),
            Protocol::Http2 | Protocol::Unknown => serve(builder, socket, boxed(service), watcher),
        };
        drive(stall.over(unless_taken(connection, handoff)), entry, deadline, metrics)
    }
}

/// Passes each request to the app, unless its host is unclear or its connection is being closed.
fn service(
    settings: Arc<ConnectionSettings>,
    entry: Arc<ConnectionEntry>,
    peer: SocketAddr,
    handoff: ConnectionHandoff,
) -> impl Answers {
    let app = TowerToHyperService::new(settings.app.clone());
    service_fn(move |mut request: Request<Incoming>| {
        let in_flight = entry.begin();
        let version = request.version();
        let refused = conformance::refuse(&request, &settings.metrics);
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(handoff.clone());
        let is_served = in_flight.is_some() && refused.is_none();
        let answer = is_served.then(|| app.call(request));
        let settings = Arc::clone(&settings);
        async move {
            let answer = match (answer, refused) {
                (Some(answer), _) => answer.await?,
                (None, Some(refusal)) if in_flight.is_some() => refusal,
                // The connection is being closed: its client would not see a response.
                (None, _) => pending().await,
            };
            let answer = settings.streams.wrap(conformance::of_version(version, answer));
            Ok(answer.map(|body| WatchedBody::new(body, in_flight)))
        }
    })
}

/// Drives a connection to its end. Its first request has to arrive by the deadline.
async fn drive(
    connection: impl Future<Output = Option<Option<Result<(), ConnectionError>>>>,
    entry: Arc<ConnectionEntry>,
    deadline: Instant,
    metrics: Metrics,
) {
    let mut connection = pin!(connection);
    // hyper's own limit starts only when it knows the version: a client that stops within the
    // HTTP/2 preface would stay forever.
    let ended = tokio::select! {
        biased;
        ended = &mut connection => ended,
        asked = timeout_at(deadline, entry.is_asked()) => match asked {
            Ok(()) => connection.await,
            Err(_) => return too_late(&metrics, "the first request took too long"),
        },
    };
    let Some(ended) = ended else {
        return debug!("the client made no write progress within the write timeout");
    };
    if let Some(Err(error)) = ended {
        head_limit(&*error).into_iter().for_each(|limit| metrics.limited(limit));
        debug!(error, "connection ended");
    }
}

fn too_late(metrics: &Metrics, what: &str) {
    metrics.limited(Limit::HeaderTimeout);
    debug!("{what}");
}

/// Drives a connection until it ends, or until a shard has its socket. Then it is `None`, and the
/// connection is dropped with all that it holds.
async fn unless_taken<C: Future + Unpin>(
    mut connection: C,
    handoff: Option<Handoff>,
) -> Option<C::Output> {
    poll_fn(|cx| {
        handoff.iter().for_each(|handoff| handoff.is_driven_by(cx.waker()));
        match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending if handoff.as_ref().is_some_and(Handoff::is_taken) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// The limit on request heads that hyper has enforced.
fn head_limit(error: &(dyn Error + Send + Sync + 'static)) -> Option<Limit> {
    let error = error.downcast_ref::<hyper::Error>()?;
    if error.is_parse_too_large() {
        return Some(Limit::HeaderBytes);
    }
    error.is_timeout().then_some(Limit::HeaderTimeout)
}

fn with_hsts(app: Router, time: Duration) -> Router {
    if time.is_zero() {
        return app;
    }
    let value = HeaderValue::try_from(format!("max-age={}", time.as_secs()))
        .expect("digits are a valid header value");
    app.layer(map_response(move |mut response: Response| {
        response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, value.clone());
        ready(response)
    }))
}
