//! The options of `carafe dev` and `carafe serve`: log, limits, timeouts, Mercure.

use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use carafe_http::{BasePath, Rate};
use carafe_hub::Retention;
use carafe_protocol::TopicMatcher;
use clap::{ArgAction, Args, ValueEnum};
use url::Url;

use super::listen_address::{ListenAddress, file_mode};
use super::values::{
    LogPlace, duration, duration_range, heartbeat_range, limit, log_place, matcher,
    positive_duration, public_url, retention, segment_bytes,
};

/// The default of `--key-window`, which all nodes of a cluster and their engine have to share.
pub(super) const KEY_WINDOW: &str = "24h";

#[derive(Args, Debug)]
pub(crate) struct HubOptions {
    /// Address to listen on, such as localhost:3000, :3000 for all addresses,
    /// unix:/run/carafe.sock, or fd://3 for a socket of the service manager; port 0 selects a free
    /// port. May be repeated [default: the sockets that the service manager passes, or
    /// 127.0.0.1:3000]
    #[arg(long, env = "CARAFE_LISTEN", value_delimiter = ',', value_name = "ADDR")]
    pub(crate) listen: Vec<ListenAddress>,
    /// Permissions of the files of Unix sockets, in octal digits
    #[arg(
        long,
        env = "CARAFE_UNIX_MODE",
        default_value = "660",
        value_name = "MODE",
        value_parser = file_mode
    )]
    pub(crate) unix_mode: u32,
    /// Path under which all endpoints are, such as /sse; /healthz and /readyz are at the root, too
    #[arg(long, env = "CARAFE_BASE_PATH", default_value = "", value_name = "PATH")]
    pub(crate) base_path: BasePath,
    /// Where events are stored: disk:PATH, or memory:, which is lost when the hub stops
    #[arg(
        long,
        env = "CARAFE_LOG",
        default_value = "disk:carafe-data",
        value_name = "LOG",
        value_parser = log_place
    )]
    pub(crate) log: LogPlace,
    /// TOML file with any of these options, such as drain-timeout = "5s"
    #[arg(long, env = "CARAFE_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Maximum number of stored events; on disk up to an eighth more, because whole files are
    /// deleted [default: 1000000 in memory, unlimited on disk]
    #[arg(long, env = "CARAFE_HISTORY_EVENTS", value_name = "N")]
    pub(crate) history_events: Option<u64>,
    /// Maximum size of the history, including indexes on disk [default: 64MiB in memory, 16GiB on
    /// disk]
    #[arg(long, env = "CARAFE_HISTORY_BYTES", value_name = "SIZE")]
    pub(crate) history_bytes: Option<ByteSize>,
    /// Maximum age of events on disk [default: unlimited]
    #[arg(
        long,
        env = "CARAFE_HISTORY_AGE",
        value_name = "DURATION",
        value_parser = positive_duration
    )]
    pub(crate) history_age: Option<Duration>,
    /// How long an idempotency key prevents duplicates, while its event is stored
    #[arg(
        long,
        env = "CARAFE_KEY_WINDOW",
        default_value = KEY_WINDOW,
        value_name = "DURATION",
        value_parser = positive_duration
    )]
    pub(crate) key_window: Duration,
    /// Maximum number of pattern tests of one request with last=N
    #[arg(long, env = "CARAFE_PATTERN_TESTS", default_value = "20000000", value_name = "N")]
    pub(crate) pattern_tests: u64,
    /// Topics of which only the newest event is sure to be kept on disk, such as state/*. Repeat
    /// the option or separate values by commas
    #[arg(
        long,
        env = "CARAFE_COMPACT",
        value_delimiter = ',',
        value_name = "PATTERN",
        value_parser = matcher
    )]
    pub(crate) compact: Vec<TopicMatcher>,
    /// Time within which the bytes of erased events leave the disk
    #[arg(
        long,
        env = "CARAFE_ERASE_WITHIN",
        default_value = "1h",
        value_name = "DURATION",
        value_parser = positive_duration
    )]
    pub(crate) erase_within: Duration,
    /// Maximum number of erasures whose events have not left the disk yet
    #[arg(long, env = "CARAFE_ERASURES", default_value = "100000", value_name = "N")]
    pub(crate) erasures: usize,
    /// Maximum number of topics whose end or stop the hub remembers; each takes about 200 bytes of
    /// memory
    #[arg(long, env = "CARAFE_ENDED_TOPICS", default_value = "1000000", value_name = "N")]
    pub(crate) ended_topics: usize,
    /// Retention of topics that is shorter than the history, such as sessions/*=1h, or
    /// 'sessions/*=1h after end' to count from the end of the topic. Repeat the option or separate
    /// values by commas
    #[arg(
        long,
        env = "CARAFE_RETAIN",
        value_delimiter = ',',
        value_name = "PATTERN=DURATION",
        value_parser = retention
    )]
    pub(crate) retain: Vec<Retention>,
    /// Size of the log's segment files [default: 1/32 of the history, from 4KiB to 64MiB]
    #[arg(long, env = "CARAFE_SEGMENT_BYTES", value_name = "SIZE", value_parser = segment_bytes)]
    pub(crate) segment_bytes: Option<u32>,
    /// Maximum size of the events that wait to be written to disk
    #[arg(long, env = "CARAFE_WAITING_BYTES", default_value = "64MiB", value_name = "SIZE")]
    pub(crate) waiting_bytes: ByteSize,
    /// Number of threads that read history from disk
    #[arg(long, env = "CARAFE_READERS", default_value = "4", value_name = "N")]
    pub(crate) readers: usize,
    /// Memory for recent events, from which live streams are sent
    #[arg(long, env = "CARAFE_RING_BYTES", default_value = "64MiB", value_name = "SIZE")]
    pub(crate) ring_bytes: ByteSize,
    /// Maximum size of an event's data
    #[arg(long, env = "CARAFE_EVENT_BYTES", default_value = "1MiB", value_name = "SIZE")]
    pub(crate) event_bytes: ByteSize,
    /// Maximum size of a batch
    #[arg(long, env = "CARAFE_BATCH_BYTES", default_value = "16MiB", value_name = "SIZE")]
    pub(crate) batch_bytes: ByteSize,
    /// Memory for request bodies while they are read and stored; one client may use half of it
    #[arg(long, env = "CARAFE_BODY_BYTES_IN_FLIGHT", default_value = "64MiB", value_name = "SIZE")]
    pub(crate) body_bytes_in_flight: ByteSize,
    /// Maximum number of topics and patterns of a stream
    #[arg(long, env = "CARAFE_MATCHERS", default_value = "100", value_name = "N")]
    pub(crate) matchers: usize,
    /// Maximum number of distinct patterns in use that need a regular expression
    #[arg(long, env = "CARAFE_COMPLEX_PATTERNS", default_value = "1000", value_name = "N")]
    pub(crate) complex_patterns: usize,
    /// Maximum number of such patterns per client, by the subject of its token or its address
    #[arg(
        long,
        env = "CARAFE_COMPLEX_PATTERNS_PER_CLIENT",
        default_value = "100",
        value_name = "N"
    )]
    pub(crate) complex_patterns_per_client: usize,
    /// Maximum number of open streams of this hub; more are rejected with 503 and Retry-After
    /// [default: as many as the limit on file descriptors allows]
    #[arg(long, env = "CARAFE_SUBSCRIBERS", value_name = "N", value_parser = limit)]
    pub(crate) subscribers: Option<usize>,
    /// Maximum number of open streams per client address (IPv6: per /64), or unlimited; in a
    /// cluster, at each node
    #[arg(
        long,
        env = "CARAFE_SUBSCRIBERS_PER_ADDRESS",
        default_value = "1000",
        value_name = "N",
        value_parser = limit
    )]
    pub(crate) subscribers_per_address: usize,
    /// Maximum number of connections per client address, including those of streams; trusted
    /// proxies are exempt [default: twice --subscribers-per-address, at least 100]
    #[arg(long, env = "CARAFE_CONNECTIONS_PER_ADDRESS", value_name = "N", value_parser = limit)]
    pub(crate) connections_per_address: Option<usize>,
    /// Maximum number of streams that read history at once; others wait
    #[arg(long, env = "CARAFE_REPLAYS", default_value = "64", value_name = "N")]
    pub(crate) replays: usize,
    /// Maximum number of such streams per client, by the subject of its token or its address
    #[arg(long, env = "CARAFE_REPLAYS_PER_CLIENT", default_value = "4", value_name = "N")]
    pub(crate) replays_per_client: usize,
    /// Maximum number of events of a snapshot, the newest of each topic; a request for more is
    /// rejected
    #[arg(long, env = "CARAFE_LATEST_EVENTS", default_value = "100000", value_name = "N")]
    pub(crate) latest_events: usize,
    /// Memory for snapshots that clients have not read yet, half of it for one client
    #[arg(long, env = "CARAFE_SNAPSHOT_BYTES", default_value = "64MiB", value_name = "SIZE")]
    pub(crate) snapshot_bytes: ByteSize,
    /// Maximum rate of events per publisher, such as 100/s; in a cluster, at each node [default:
    /// unlimited]
    #[arg(long, env = "CARAFE_PUBLISH_RATE", value_name = "N/TIME")]
    pub(crate) publish_rate: Option<Rate>,
    /// Maximum burst of events per publisher [default: the number in --publish-rate]
    #[arg(long, env = "CARAFE_PUBLISH_BURST", value_name = "N")]
    pub(crate) publish_burst: Option<NonZeroU32>,
    /// Maximum number of revocations of tokens in force
    #[arg(long, env = "CARAFE_REVOCATIONS", default_value = "10000", value_name = "N")]
    pub(crate) revocations: usize,
    #[command(flatten)]
    pub(crate) mercure: MercureOptions,
    /// Interval of heartbeat comments on an idle stream
    #[arg(
        long,
        env = "CARAFE_HEARTBEAT",
        default_value = "15s",
        value_name = "DURATION",
        value_parser = positive_duration
    )]
    pub(crate) heartbeat: Duration,
    /// Range of the interval that a client may request by ?heartbeat=4s; one outside is replaced by
    /// the nearest within
    #[arg(
        long,
        env = "CARAFE_HEARTBEAT_RANGE",
        default_value = "1s..60s",
        value_name = "MIN..MAX",
        value_parser = heartbeat_range
    )]
    pub(crate) heartbeat_range: RangeInclusive<Duration>,
    /// How long clients wait before they reconnect; varied by up to a quarter per stream
    #[arg(
        long,
        env = "CARAFE_RETRY",
        default_value = "2s",
        value_name = "DURATION",
        value_parser = duration
    )]
    pub(crate) retry: Duration,
    /// Range of the wait that publishers may set by the field `retry` of an event
    #[arg(
        long,
        env = "CARAFE_EVENT_RETRY",
        default_value = "500ms..5m",
        value_name = "MIN..MAX",
        value_parser = duration_range
    )]
    pub(crate) event_retry: RangeInclusive<Duration>,
    /// Timeout for a TLS handshake, and for the head of each request
    #[arg(
        long,
        env = "CARAFE_HEADER_TIMEOUT",
        default_value = "10s",
        value_name = "DURATION",
        value_parser = positive_duration
    )]
    pub(crate) header_timeout: Duration,
    /// Maximum size of a request's head, at least 8KiB
    #[arg(long, env = "CARAFE_HEADER_BYTES", default_value = "16KiB", value_name = "SIZE")]
    pub(crate) header_bytes: ByteSize,
    /// Timeout for a request's body
    #[arg(
        long,
        env = "CARAFE_BODY_TIMEOUT",
        default_value = "30s",
        value_name = "DURATION",
        value_parser = positive_duration
    )]
    pub(crate) body_timeout: Duration,
    /// Number of threads that write streams over HTTP/1.1 [default: half the cores]
    #[arg(long, env = "CARAFE_SHARDS", value_name = "N")]
    pub(crate) shards: Option<NonZeroUsize>,
    /// Disconnect clients that make no write progress for this long
    #[arg(
        long,
        env = "CARAFE_WRITE_TIMEOUT",
        default_value = "30s",
        value_name = "DURATION",
        value_parser = positive_duration
    )]
    pub(crate) write_timeout: Duration,
    /// Size of the kernel's send buffer per stream
    #[arg(long, env = "CARAFE_SEND_BUFFER", default_value = "36KiB", value_name = "SIZE")]
    pub(crate) send_buffer: ByteSize,
    /// Size of additional kernel send buffers for all clients that read history, together
    #[arg(long, env = "CARAFE_CATCH_UP_BYTES", default_value = "64MiB", value_name = "SIZE")]
    pub(crate) catch_up_bytes: ByteSize,
    /// Serve metrics for Prometheus at http://ADDR/metrics; use a loopback or private address
    #[arg(long, env = "CARAFE_METRICS_LISTEN", value_name = "ADDR")]
    pub(crate) metrics_listen: Option<ListenAddress>,
    /// Format of log lines on standard error
    #[arg(long, env = "CARAFE_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
    /// How long the hub serves requests after SIGTERM, with 503 for /readyz, before it ends streams
    #[arg(
        long,
        env = "CARAFE_SHUTDOWN_DELAY",
        default_value = "0s",
        value_name = "DURATION",
        value_parser = duration
    )]
    pub(crate) shutdown_delay: Duration,
    /// Timeout for ending all streams at shutdown
    #[arg(
        long,
        env = "CARAFE_DRAIN_TIMEOUT",
        default_value = "10s",
        value_name = "DURATION",
        value_parser = duration
    )]
    pub(crate) drain_timeout: Duration,
}

/// The Mercure protocol.
#[derive(Args, Debug)]
pub(crate) struct MercureOptions {
    /// Enable the Mercure protocol on /.well-known/mercure; a key with a Mercure dialect enables
    /// it, too
    #[arg(
        long,
        env = "CARAFE_MERCURE",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value = "false", default_missing_value = "true", value_name = "BOOL"
    )]
    pub(crate) mercure: bool,
    /// Enable the subscription API of Mercure, and its updates about subscriptions
    #[arg(
        long,
        env = "CARAFE_MERCURE_SUBSCRIPTIONS",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value = "false", default_missing_value = "true", value_name = "BOOL"
    )]
    pub(crate) mercure_subscriptions: bool,
    /// Maximum age of a Mercure stream, shortened by up to a fifth at random [default: the lifetime
    /// of its token]
    #[arg(
        long,
        env = "CARAFE_MERCURE_MAX_AGE",
        value_name = "DURATION",
        value_parser = positive_duration
    )]
    pub(crate) mercure_max_age: Option<Duration>,
    /// URL under which clients reach the hub, such as https://hub.example.com or, if a proxy
    /// removes the path, https://example.com/sse; required for Mercure 1.0
    #[arg(long, env = "CARAFE_PUBLIC_URL", value_name = "URL", value_parser = public_url)]
    pub(crate) public_url: Option<Url>,
}

/// The format of log lines on standard error.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Text for people
    Text,
    /// A JSON object per line
    Json,
}
