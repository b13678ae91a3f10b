//! Runs an app on a listener until it is told to stop, and then drains.

use std::error::Error;
use std::future::{pending, poll_fn, ready};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::ops::ControlFlow;
use std::os::fd::AsRawFd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::middleware::map_response;
use axum::response::Response;
use carafe_fanout::{SendBuffers, ShardOptions, ShardPool};
use carafe_hub::{Drain, Hub};
use http::header::STRICT_TRANSPORT_SECURITY;
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::{Accept, TlsAcceptor};
use tracing::{debug, warn};

use crate::answer::limit::Limit;
use crate::observe::log_interval::LogInterval;
use crate::observe::metrics::FallbackReason;
use crate::observe::metrics::Metrics;
use crate::observe::stream_record::StreamRecord;
use crate::policy::address::Proxies;
use crate::policy::subscribers::ConnectionPermit;
use crate::policy::subscribers::Subscribers;
use crate::server::conformance;
use crate::server::frame_guard::FrameGuard;
use crate::server::handoff::{ConnectionHandoff, Handoff};
use crate::server::handoff_socket::HandoffSocket;
use crate::server::http2_frames::PREFACE;
use crate::server::idle::{ConnectionEntry, Idle};
use crate::server::lazy_socket::LazySocket;
use crate::server::listener::Listener;
use crate::server::stall::{StallDetector, StreamExecutor, WatchedBody};
use crate::server::tls::Tls;
use crate::server::watched_socket::WatchedSocket;

/// StreamExecutor on one HTTP/2 connection. All tabs that a browser has on one origin share a connection,
/// and what is over the limit waits without a word, publishing too: hyper's 200 are too few for
/// streams that never end.
const STREAMS: u32 = 1000;

/// What a client may send over HTTP/2 before it is read: on one stream, and on all of its
/// connection. It is in memory outside of the budget for bodies, so it is as small as uploads over
/// long ways allow.
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;

/// Bytes of an answer over HTTP/2 that wait to be sent on one stream.
const SEND_BUFFER: usize = 64 << 10;

/// Connections that are accepted before those that were have their turn: what each takes at first
/// the next can have after it.
const AT_ONCE: usize = 16;

/// How often it is told that there are too many connections, in all and from one address.
static FULL: LogInterval = LogInterval::every(Duration::from_secs(60));
static CROWD: LogInterval = LogInterval::every(Duration::from_secs(60));

/// How connections are served, and how they end.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// How long a TLS handshake, and then a request's head, may take to arrive.
    pub header_time: Duration,
    /// Bytes that a request's head may have; at least 8192.
    pub header_bytes: usize,
    /// How long draining may take. The streams are ended one after the other over the first half of
    /// it.
    pub drain_time: Duration,
    /// The certificate to show; without one, connections are cleartext. The client chooses HTTP/2
    /// or HTTP/1.1 by ALPN over TLS, and by how it begins over cleartext.
    pub tls: Option<Tls>,
    /// For how long browsers that have come over TLS shall come by no other way (HSTS); no time
    /// says nothing of it.
    pub hsts: Duration,
    /// How many descriptors connections may have of the process's. When they run short, the
    /// connections that have waited for their clients for the longest are closed; if none waits,
    /// newcomers are. Without it, those of the log, too, could be lacking.
    pub descriptors: Option<u64>,
    /// How many connections one client address may have. These should be those of the router's
    /// options: a stream that a shard serves counts there, too.
    pub subscribers: Subscribers,
    /// Proxies, whose connections are those of many clients, and are not limited.
    pub proxies: Proxies,
    /// Where it is counted what happens.
    pub metrics: Metrics,
    /// The shards that serve the hub's streams over HTTP/1.1 and cleartext, where the system is
    /// Linux. Its write time is that of all connections and of each stream of HTTP/2. The streams
    /// that no shard serves have the heartbeat of the router's options: this one should be the
    /// same.
    pub shards: ShardOptions,
}

impl Default for ServerOptions {
    /// 10 s and 16 KiB for a head, 10 s for draining, cleartext.
    fn default() -> Self {
        Self {
            header_time: Duration::from_secs(10),
            header_bytes: 16 << 10,
            drain_time: Duration::from_secs(10),
            tls: None,
            hsts: Duration::ZERO,
            descriptors: None,
            subscribers: Subscribers::default(),
            proxies: Proxies::default(),
            metrics: Metrics::default(),
            shards: ShardOptions::default(),
        }
    }
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// StreamExecutor that did not end within the drain time, and were cut.
    pub cut: usize,
}

/// Serves `app` over HTTP/1 and HTTP/2 until `stop` completes, and then drains `hub`: no new
/// connections, streams and events; every stream ends after what it is owed, at a pace.
///
/// # Errors
///
/// Fails before anything is served if the listener cannot be watched.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    hub: &Hub,
    options: ServerOptions,
    stop: impl Future<Output = ()>,
) -> io::Result<Served> {
    let listener = Listener::new(listener, &options.shards)?;
    let server = Server::new(app, &options, shards(hub, &options.shards));
    tokio::select! {
        () = stop => {}
        () = server.accept(listener) => {}
    }
    // Those have not asked for anything yet.
    drop(server.silent);
    let served = drain(&hub.drain(), server.connections, options.drain_time).await;
    if served.cut > 0 {
        options.metrics.limited(Limit::DrainTime);
    }
    Ok(served)
}

/// Serves an `app` that has no streams, such as [`metrics_router`](crate::metrics_router), until
/// this is dropped.
///
/// # Errors
///
/// Fails if the listener cannot be watched.
pub fn serve_beside(
    listener: TcpListener,
    app: Router,
    options: ServerOptions,
) -> io::Result<impl Future<Output = ()> + Send> {
    let listener = Listener::new(listener, &options.shards)?;
    Ok(async move { Server::new(app, &options, None).accept(listener).await })
}

/// Without shards, streams are served as any other answer is.
fn shards(hub: &Hub, options: &ShardOptions) -> Option<ShardPool<StreamRecord>> {
    if cfg!(not(target_os = "linux")) {
        return None;
    }
    ShardPool::start(hub, options)
        .inspect_err(|error| warn!(%error, "streams are served without shards"))
        .ok()
}

struct Server {
    builders: Arc<Builders>,
    app: Router,
    tls: Option<TlsAcceptor>,
    head_time: Duration,
    /// For how long a client may take nothing.
    write_time: Duration,
    buffers: SendBuffers,
    /// Dropped to end connections whose client has said nothing yet, and handshakes.
    silent: watch::Sender<()>,
    connections: GracefulShutdown,
    idle: Idle,
    descriptors: Descriptors,
    subscribers: Subscribers,
    proxies: Proxies,
    metrics: Metrics,
    shards: Option<ShardPool<StreamRecord>>,
}

impl Server {
    fn new(app: Router, options: &ServerOptions, shards: Option<ShardPool<StreamRecord>>) -> Self {
        let metrics = options.metrics.clone();
        options.shards.catch_up.on_refused(move || metrics.limited(Limit::CatchUpBytes));
        Self {
            builders: Arc::new(Builders::new(options)),
            app: if options.tls.is_some() { with_hsts(app, options.hsts) } else { app },
            tls: options.tls.as_ref().map(Tls::acceptor),
            head_time: options.header_time,
            write_time: options.shards.write_time,
            buffers: SendBuffers::new(&options.shards),
            silent: watch::Sender::new(()),
            connections: GracefulShutdown::new(),
            idle: Idle::new(),
            descriptors: Descriptors::of(options.descriptors),
            subscribers: options.subscribers.clone(),
            proxies: options.proxies.clone(),
            metrics: options.metrics.clone(),
            shards,
        }
    }

    async fn accept(&self, listener: Listener) {
        for accepted in 1_usize.. {
            if accepted.is_multiple_of(AT_ONCE) {
                yield_now().await;
            }
            match listener.accept().await {
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

    /// Serves a newcomer, if its address may have one more connection and there are descriptors. A
    /// refusal would cost more than the connection, and browsers come back to a closed one by
    /// themselves.
    async fn admit(&self, socket: TcpStream, peer: SocketAddr) {
        let Ok(permit) = self.permit(peer.ip()) else {
            self.metrics.limited(Limit::ConnectionsPerAddress);
            if CROWD.is_due() {
                let address = peer.ip();
                warn!(%address, "one address has as many connections as it may; if it is a proxy, name it by --trusted-proxies");
            }
            return;
        };
        if self.has_room_for(&socket).await {
            return self.serve(socket, peer, permit);
        }
        self.metrics.limited(Limit::Descriptors);
        if FULL.is_due() {
            warn!(
                "connections have all descriptors that they may, and none waits; closing newcomers"
            );
        }
    }

    /// Whether a newcomer may have its descriptor. Connections that wait for their clients give
    /// way.
    async fn has_room_for(&self, newcomer: &TcpStream) -> bool {
        match self.descriptors.room(newcomer) {
            Room::Enough => true,
            Room::Little => {
                self.close_idle().await;
                true
            }
            // The newcomer has the descriptor of one that is closed. With another one, there is
            // more room than before.
            Room::None => {
                let gave_way = self.close_idle().await;
                if gave_way {
                    self.close_idle().await;
                }
                gave_way
            }
        }
    }

    fn permit(&self, peer: IpAddr) -> Result<Option<ConnectionPermit>, Limit> {
        if self.proxies.trusts(peer.to_canonical()) {
            return Ok(None);
        }
        self.subscribers.connect(peer.into()).map(Some)
    }

    /// Closes the connection that has waited for its client for the longest, and lets its task end;
    /// `false` if none waits.
    async fn close_idle(&self) -> bool {
        let closed = self.idle.close_oldest();
        if closed {
            self.metrics.limited(Limit::IdleConnections);
            yield_now().await;
        }
        closed
    }

    fn serve(&self, socket: TcpStream, peer: SocketAddr, permit: Option<ConnectionPermit>) {
        let place = self.idle.register();
        let key = place.key();
        let connection = Connection {
            builders: Arc::clone(&self.builders),
            app: self.app.clone(),
            tls: self.tls.clone(),
            shards: self.shards.clone(),
            head_time: self.head_time,
            write_time: self.write_time,
            buffers: self.buffers.clone(),
            watcher: self.connections.watcher(),
            place,
            peer,
            metrics: self.metrics.clone(),
        };
        let socket = LazySocket::new(socket, permit);
        let task = tokio::spawn(connection.begin(socket, self.silent.subscribe()));
        self.idle.is_driven_by(key, task.abort_handle());
    }
}

/// The descriptors that connections may have.
struct Descriptors {
    /// From here on room is made for newcomers.
    short: u64,
    all: u64,
}

/// Whether there are descriptors for newcomers.
#[derive(PartialEq, Eq)]
enum Room {
    Enough,
    Little,
    None,
}

impl Descriptors {
    fn of(all: Option<u64>) -> Self {
        let all = all.unwrap_or(u64::MAX);
        // A connection that is closed has its descriptor until its task has run.
        Self { short: all - (all / 16).clamp(1, 256), all }
    }

    /// The system gives out the lowest descriptor that is free: one this high tells that all below
    /// it are in use.
    fn room(&self, newcomer: &TcpStream) -> Room {
        match u64::try_from(newcomer.as_raw_fd()).unwrap_or_default() {
            descriptor if descriptor >= self.all => Room::None,
            descriptor if descriptor >= self.short => Room::Little,
            _ => Room::Enough,
        }
    }
}

/// What serves one connection.
struct Connection {
    builders: Arc<Builders>,
    app: Router,
    tls: Option<TlsAcceptor>,
    shards: Option<ShardPool<StreamRecord>>,
    head_time: Duration,
    write_time: Duration,
    buffers: SendBuffers,
    watcher: Watcher,
    place: ConnectionEntry,
    peer: SocketAddr,
    metrics: Metrics,
}

impl Connection {
    /// Serves the client once it has said something. What that takes is had only then, since very
    /// many may come at once.
    async fn begin(self, mut socket: LazySocket, mut stopping: watch::Receiver<()>) {
        let deadline = Instant::now() + self.head_time;
        let version = tokio::select! {
            biased;
            spoken = timeout_at(deadline, socket.first()) => match spoken {
                Ok(Ok(first)) => Protocol::of(first),
                Ok(Err(error)) => return debug!(%error, "the client left before it said anything"),
                Err(_) => return too_late(&self.metrics, "the client said nothing for too long"),
            },
            _ = stopping.changed() => return,
        };
        let stall = StallDetector::new(self.write_time);
        let socket = WatchedSocket::new(socket, stall.clone(), self.buffers.clone());
        match (self.tls.clone(), self.shards.clone().map(Handoff::new)) {
            (Some(tls), _) => {
                Box::pin(self.shake_hands(tls.accept(socket), stall, deadline, stopping)).await;
            }
            (None, Some(handoff)) => {
                let socket = HandoffSocket::new(socket, handoff.clone());
                self.run(socket, version, stall, deadline, ConnectionHandoff(Ok(handoff))).await;
            }
            (None, None) => {
                self.run(
                    socket,
                    version,
                    stall,
                    deadline,
                    ConnectionHandoff(Err(FallbackReason::NoShards)),
                )
                .await;
            }
        }
    }

    async fn shake_hands(
        self,
        handshake: Accept<WatchedSocket>,
        stall: StallDetector,
        deadline: Instant,
        mut stopping: watch::Receiver<()>,
    ) {
        let shaken = tokio::select! {
            shaken = timeout_at(deadline, handshake) => shaken,
            _ = stopping.changed() => return,
        };
        match shaken {
            Ok(Ok(socket)) => {
                let deadline = Instant::now() + self.head_time;
                self.run(
                    socket,
                    Protocol::Unknown,
                    stall,
                    deadline,
                    ConnectionHandoff(Err(FallbackReason::Tls)),
                )
                .await;
            }
            Ok(Err(error)) => debug!(%error, "TLS handshake failed"),
            Err(_) => too_late(&self.metrics, "the TLS handshake took too long"),
        }
    }

    /// Serves all that the client asks for on this connection.
    fn run(
        self,
        socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        version: Protocol,
        stall: StallDetector,
        deadline: Instant,
        takeover: ConnectionHandoff,
    ) -> impl Future<Output = ()> + Send {
        let app = TowerToHyperService::new(self.app);
        let handoff = takeover.0.as_ref().ok().cloned();
        let (peer, metrics) = (ConnectInfo(self.peer), self.metrics.clone());
        let place = Arc::new(self.place);
        let asked = Arc::clone(&place);
        let service = service_fn(move |mut request: Request<Incoming>| {
            let in_flight = place.begin();
            let (version, refused) = (request.version(), conformance::refuse(&request, &metrics));
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(takeover.clone());
            let answer = match (&in_flight, refused) {
                (None, _) => None,
                (_, Some(refusal)) => Some(ControlFlow::Break(refusal)),
                (_, None) => Some(ControlFlow::Continue(app.call(request))),
            };
            async move {
                let answer = match answer {
                    // The connection is being closed.
                    None => pending().await,
                    Some(ControlFlow::Break(refusal)) => Ok(refusal),
                    Some(ControlFlow::Continue(answer)) => answer.await,
                };
                answer.map(|answer| {
                    conformance::of_version(version, answer)
                        .map(|body| WatchedBody::new(body, in_flight))
                })
            }
        });
        let socket = FrameGuard::new(socket, version == Protocol::Unknown, &self.metrics);
        let connection =
            self.builders.of(version).serve_connection(TokioIo::new(socket), service).into_owned();
        // What drives it is small then, and is not copied with it again and again.
        let connection = Box::pin(self.watcher.watch(connection));
        drive(stall.over(unless_taken(connection, handoff)), asked, deadline, self.metrics)
    }
}

/// Drives a connection to its end. Its first request has to come by the deadline.
async fn drive(
    connection: impl Future<Output = Option<Option<Result<(), ConnectionError>>>>,
    asked: Arc<ConnectionEntry>,
    deadline: Instant,
    metrics: Metrics,
) {
    let mut connection = pin!(connection);
    // hyper's own limit begins only when it knows the version, so a client that says nothing would
    // stay for ever.
    let ended = tokio::select! {
        biased;
        ended = &mut connection => ended,
        asked = timeout_at(deadline, asked.is_asked()) => match asked {
            Ok(()) => connection.await,
            Err(_) => return too_late(&metrics, "the first request took too long"),
        },
    };
    let Some(ended) = ended else { return debug!("the client took nothing for too long") };
    if let Some(Err(error)) = ended {
        head_limit(&*error).into_iter().for_each(|limit| metrics.limited(limit));
        debug!(error, "connection ended");
    }
}

type ConnectionError = Box<dyn Error + Send + Sync>;

fn too_late(metrics: &Metrics, what: &str) {
    metrics.limited(Limit::HeaderTime);
    debug!("{what}");
}

/// Drives a connection until it ends, or its socket is a shard's: then `None`, and what was held
/// for it is dropped.
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

/// The limit on heads that hyper has kept.
fn head_limit(error: &(dyn Error + Send + Sync + 'static)) -> Option<Limit> {
    let error = error.downcast_ref::<hyper::Error>()?;
    if error.is_parse_too_large() {
        return Some(Limit::HeaderBytes);
    }
    error.is_timeout().then_some(Limit::HeaderTime)
}

fn with_hsts(app: Router, time: Duration) -> Router {
    if time.is_zero() {
        return app;
    }
    let value = HeaderValue::try_from(format!("max-age={}", time.as_secs()))
        .expect("digits are a header's value");
    app.layer(map_response(move |mut response: Response| {
        response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, value.clone());
        ready(response)
    }))
}

/// Which version of HTTP a client speaks, by how it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    /// It has not said enough, or under TLS.
    Unknown,
}

impl Protocol {
    fn of(first: &[u8]) -> Self {
        let begins = first.iter().zip(PREFACE).all(|(said, expected)| said == expected);
        if begins { Self::Unknown } else { Self::Http1 }
    }
}

/// What serves a connection.
struct Builders {
    /// Does not look for the version, which would read twice.
    http1: Builder<StreamExecutor>,
    any: Builder<StreamExecutor>,
}

impl Builders {
    fn new(options: &ServerOptions) -> Self {
        let mut builder = Builder::new(StreamExecutor);
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(options.header_time)
            .max_buf_size(options.header_bytes.max(8192));
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(Duration::from_secs(30))
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(u32::try_from(options.header_bytes).unwrap_or(u32::MAX));
        Self { http1: builder.clone().http1_only(), any: builder }
    }

    fn of(&self, version: Protocol) -> &Builder<StreamExecutor> {
        match version {
            Protocol::Http1 => &self.http1,
            Protocol::Unknown => &self.any,
        }
    }
}

/// A client that left before it was accepted is none of the listener's trouble; running out of
/// descriptors is, and must not spin.
fn is_client_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn drain(drain: &Drain, connections: GracefulShutdown, time: Duration) -> Served {
    // Idle connections are closed at once, the others when their answer ends.
    let ended = async {
        tokio::join!(end_streams(drain, time / 2), connections.shutdown(), all_ended(drain))
    };
    match timeout(time, ended).await {
        Ok(_) => Served { cut: 0 },
        Err(_) => Served { cut: drain.open() },
    }
}

/// Those that shards serve end on no connection of hyper's.
async fn all_ended(drain: &Drain) {
    while drain.open() > 0 {
        sleep(Duration::from_millis(10)).await;
    }
}

/// Ends the open streams over `time`, a fiftieth at each step, since all their clients come back at
/// once otherwise. A few streams need no pace.
async fn end_streams(drain: &Drain, time: Duration) {
    const STEPS: u32 = 50;
    const AT_ONCE: usize = 100;
    let share = drain.open().div_ceil(STEPS as usize).max(AT_ONCE);
    while drain.end(share) == share {
        sleep(time / STEPS).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_may_still_come_to_speak_http_2_is_looked_at_further() {
        for (first, version) in [
            (&b"GET / HTTP/1.1\r\n"[..], Protocol::Http1),
            (b"POST / HTTP/1.1\r\n", Protocol::Http1),
            (b"PRI * HTTP/1.1\r\n", Protocol::Http1),
            (b"\r\n", Protocol::Http1),
            (b"P", Protocol::Unknown),
            (b"PRI * HTTP/2.0\r\n\r\nSM", Protocol::Unknown),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Protocol::Unknown),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04", Protocol::Unknown),
        ] {
            assert_eq!(Protocol::of(first), version, "{:?}", first.escape_ascii().to_string());
        }
    }
}
