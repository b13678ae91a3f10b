//! How connections are served.

use std::time::Duration;

use carafe_fanout::ShardOptions;

use crate::answer::heartbeat;
use crate::observe::metrics::Metrics;
use crate::policy::address::Proxies;
use crate::policy::revocations::Revocations;
use crate::policy::subscribers::Subscribers;
use crate::server::tls::Tls;

/// How connections are served, and how they end.
///
/// The options of a server for a hub's router come from
/// [`Options::server`](crate::Options::server): they share the heartbeat, metrics, proxies and
/// limits of the router. Those of a server without a hub's streams come from `default`. Then set
/// what shall differ:
///
/// ```
/// use std::time::Duration;
/// use carafe_http::Options;
///
/// let options = Options::default();
/// let mut server = options.server();
/// server.drain_timeout = Duration::from_secs(30);
/// server.shards.write_timeout = Duration::from_secs(20);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerOptions {
    /// How long a TLS handshake, and then the head of a request, may take to arrive.
    pub header_timeout: Duration,
    /// The most bytes of the head of a request; at least 8192.
    pub header_bytes: usize,
    /// How long draining may take. The streams are ended one after the other over the first half.
    pub drain_timeout: Duration,
    /// The certificate; without one, connections are cleartext. Clients choose HTTP/2 or HTTP/1.1
    /// by ALPN over TLS, and by the connection preface over cleartext.
    pub tls: Option<Tls>,
    /// How long browsers that used TLS shall use nothing else (HSTS); zero sends no header.
    pub hsts: Duration,
    /// The number of file descriptors that connections may use. When they run short, the
    /// connections that have been idle for the longest are closed; if none is idle, new ones are.
    /// Without this limit, the log could lack descriptors, too.
    pub descriptors: Option<u64>,
    /// The shards that serve a hub's streams over HTTP/1.1 on Linux, in cleartext or over TLS 1.3.
    /// Their write timeout is that of all connections, and of each HTTP/2 stream.
    pub shards: ShardOptions,
    /// What the server has in common with the router.
    pub(crate) shared: SharedSettings,
}

/// The settings that a router and its server have in common.
#[derive(Clone, Debug)]
pub(crate) struct SharedSettings {
    pub(crate) heartbeat: Duration,
    pub(crate) metrics: Metrics,
    pub(crate) proxies: Proxies,
    pub(crate) subscribers: Subscribers,
    pub(crate) revocations: Revocations,
}

impl Default for SharedSettings {
    fn default() -> Self {
        Self {
            heartbeat: heartbeat::DEFAULT,
            metrics: Metrics::default(),
            proxies: Proxies::default(),
            subscribers: Subscribers::default(),
            revocations: Revocations::default(),
        }
    }
}

impl Default for ServerOptions {
    /// 10 s and 16 KiB for a head, 10 s for draining, cleartext.
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            header_bytes: 16 << 10,
            drain_timeout: Duration::from_secs(10),
            tls: None,
            hsts: Duration::ZERO,
            descriptors: None,
            shards: ShardOptions::default(),
            shared: SharedSettings::default(),
        }
    }
}
