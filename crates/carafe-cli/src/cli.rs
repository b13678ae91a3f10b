//! The command line.

use std::env;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use carafe_http::auth::Algorithm;
use carafe_http::{Network, Origin, Rate};
use carafe_hub::Retention;
use carafe_protocol::TopicPattern;
use clap::error::ErrorKind;
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use url::Url;

use crate::config;
use crate::failure::Failure;

/// Push events from servers to browsers, and lose nothing.
#[derive(Parser, Debug)]
#[command(name = "carafe", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Run a hub for this machine: all open to local programs and pages, with a console at /
    Dev(Box<HubOptions>),
    /// Run a hub for others
    Serve(Box<ServeOptions>),
    /// Publish an event, or each line of standard input as one
    Publish(PublishOptions),
    /// Print events as they come, each one's data on a line
    Subscribe(SubscribeOptions),
    /// Make a token that lets its holder publish or subscribe, and print it
    Token(TokenOptions),
    /// Measure a server of event streams: open many, publish, and check that every one gets every
    /// event
    Bench(carafe_bench::Options),
    /// Look at a log on disk that no hub has open, and mend it
    #[command(subcommand)]
    Log(LogCommand),
}

#[derive(Subcommand, Debug)]
pub(crate) enum LogCommand {
    /// Read every byte, and tell what is not as it was written
    Verify(LogFolder),
    /// Say which events are lost, and give them up; clients that need them get a gap
    Repair(RepairOptions),
    /// Begin a new generation in a log that was copied back from a backup; clients that have seen
    /// later events get a gap
    Restore(LogFolder),
    /// Tell what there is
    Stat(LogFolder),
}

#[derive(Args, Debug)]
pub(crate) struct LogFolder {
    /// The folder of the log
    pub(crate) path: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct RepairOptions {
    #[command(flatten)]
    pub(crate) folder: LogFolder,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Only say what would be lost
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ServeOptions {
    /// What strangers may do; without it and without keys the hub refuses to start
    #[arg(long, env = "CARAFE_ANONYMOUS", value_delimiter = ',', value_name = "WHAT")]
    pub(crate) anonymous: Vec<Anonymous>,
    /// A PEM file with the server's certificate and those above it; makes the hub speak TLS alone.
    /// Read again when it changes, and on SIGHUP
    #[arg(long, env = "CARAFE_TLS_CERT", value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// A PEM file with the certificate's private key
    #[arg(long, env = "CARAFE_TLS_KEY", value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Origins whose pages may use the hub from elsewhere, with cookies and tokens, such as
    /// https://app.example; * lets all others do what needs neither. For several, repeat it or use
    /// commas
    #[arg(long, env = "CARAFE_ALLOW_ORIGIN", value_delimiter = ',', value_name = "ORIGIN")]
    pub(crate) allow_origin: Vec<Origin>,
    /// Proxies whose word about a client's address is taken, such as 10.0.0.0/8; for several,
    /// repeat it or use commas
    #[arg(long, env = "CARAFE_TRUSTED_PROXIES", value_delimiter = ',', value_name = "CIDR")]
    pub(crate) trusted_proxies: Vec<Network>,
    /// The header in which they tell it
    #[arg(
        long,
        env = "CARAFE_PROXY_HEADER",
        default_value = "x-forwarded-for",
        value_name = "HEADER"
    )]
    pub(crate) proxy_header: ProxyHeaderName,
    /// For how long browsers that came over TLS shall come by no other way to any port of this
    /// host; 0s says nothing of it
    #[arg(long, env = "CARAFE_HSTS", default_value = "720h", value_name = "TIME", value_parser = time)]
    pub(crate) hsts: Duration,
    #[command(flatten)]
    pub(crate) keys: KeyOptions,
    #[command(flatten)]
    pub(crate) credentials: CredentialOptions,
    #[command(flatten)]
    pub(crate) hub: HubOptions,
}

/// The keys that tokens are checked with.
#[derive(Args, Debug)]
pub(crate) struct KeyOptions {
    /// A file with a secret of at least 32 bytes that tokens are signed with by HS256; the variable
    /// CARAFE_SECRET may have the secret itself. Read again when it changes, and on SIGHUP
    #[arg(long, env = "CARAFE_SECRET_FILE", value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    /// A TOML file with any number of keys, secret or public, see docs/ACCESS.md. Read again when
    /// it or a file that it names changes, and on SIGHUP
    #[arg(long, env = "CARAFE_KEYS", value_name = "FILE")]
    pub(crate) keys: Option<PathBuf>,
    /// Who makes the tokens of the secret: they must say it in iss
    #[arg(long, env = "CARAFE_ISSUER", value_name = "ISSUER")]
    pub(crate) issuer: Option<String>,
    /// For whom the tokens of the secret are: they must have it in aud; for several, repeat it or
    /// use commas
    #[arg(long, env = "CARAFE_AUDIENCE", value_delimiter = ',', value_name = "AUDIENCE")]
    pub(crate) audience: Vec<String>,
}

/// Where tokens are taken from beside the header.
#[derive(Args, Debug)]
pub(crate) struct CredentialOptions {
    /// The cookie that may carry a token; it publishes for pages of the hub's own host and of the
    /// origins allowed
    #[arg(long, env = "CARAFE_COOKIE", default_value = "carafe_token", value_name = "NAME")]
    pub(crate) cookie: String,
    /// Take tokens from the query parameter access_token too, which others may log
    #[arg(
        long, env = "CARAFE_TOKEN_IN_QUERY", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_value = "false", default_missing_value = "true", value_name = "BOOL"
    )]
    pub(crate) token_in_query: bool,
}

#[derive(Args, Debug)]
pub(crate) struct TokenOptions {
    /// A topic or a URL Pattern that the holder may publish to; may be repeated
    #[arg(long, value_name = "TOPIC")]
    pub(crate) publish: Vec<String>,
    /// A topic or a URL Pattern of which the holder may see all events, private ones too; may be
    /// repeated
    #[arg(long, value_name = "TOPIC")]
    pub(crate) subscribe: Vec<String>,
    /// After how long the token expires
    #[arg(long, default_value = "1h", value_name = "TIME", value_parser = some_time)]
    pub(crate) ttl: Duration,
    /// A file with the secret to sign with, by HS256; the variable CARAFE_SECRET may have the
    /// secret itself
    #[arg(long, env = "CARAFE_SECRET_FILE", value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    /// A PEM file with the private key to sign with
    #[arg(long, env = "CARAFE_PRIVATE_KEY", value_name = "FILE")]
    pub(crate) private_key: Option<PathBuf>,
    /// Another algorithm than the key's first, such as HS512 or PS256
    #[arg(long, value_name = "ALGORITHM")]
    pub(crate) algorithm: Option<Algorithm>,
    /// The key's ID in the issuer's JWK Set
    #[arg(long, value_name = "ID")]
    pub(crate) key_id: Option<String>,
    /// Who makes the token
    #[arg(long, env = "CARAFE_ISSUER", value_name = "ISSUER")]
    pub(crate) issuer: Option<String>,
    /// For which hubs it is; may be repeated
    #[arg(long, env = "CARAFE_AUDIENCE", value_delimiter = ',', value_name = "AUDIENCE")]
    pub(crate) audience: Vec<String>,
    /// Whom it is given to
    #[arg(long, value_name = "NAME")]
    pub(crate) subject: Option<String>,
}

/// The header in which proxies tell a client's address.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyHeaderName {
    /// X-Forwarded-For
    XForwardedFor,
    /// Forwarded, of RFC 7239
    Forwarded,
}

/// How the log is written to standard error.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// An object on each line
    Json,
}

/// What strangers may do.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anonymous {
    /// Read public events
    Subscribe,
    /// Publish events
    Publish,
}

#[derive(Args, Debug)]
pub(crate) struct HubOptions {
    /// The address to listen on; port 0 takes a free one
    #[arg(long, env = "CARAFE_LISTEN", default_value = "127.0.0.1:3000", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// Where events are kept: disk:PATH, or memory:, where they are gone when the hub stops
    #[arg(long, env = "CARAFE_LOG", default_value = "disk:carafe-data", value_name = "LOG", value_parser = log_place)]
    pub(crate) log: LogPlace,
    /// A TOML file with any of these options, such as drain-timeout = "5s"
    #[arg(long, env = "CARAFE_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Events of history that are kept; on disk, up to an eighth more, since whole files are
    /// trimmed [default: 1000000 in memory, any number on disk]
    #[arg(long, env = "CARAFE_HISTORY_EVENTS", value_name = "N")]
    pub(crate) history_events: Option<u64>,
    /// Memory or disk that the history may take; on disk, its indexes included [default: 64MiB in
    /// memory, 16GiB on disk]
    #[arg(long, env = "CARAFE_HISTORY_BYTES", value_name = "SIZE")]
    pub(crate) history_bytes: Option<ByteSize>,
    /// How long events are kept on disk; without it, as long as there is room
    #[arg(long, env = "CARAFE_HISTORY_AGE", value_name = "TIME", value_parser = some_time)]
    pub(crate) history_age: Option<Duration>,
    /// How long an idempotency key is known, while its event is kept
    #[arg(long, env = "CARAFE_KEY_WINDOW", default_value = "24h", value_name = "TIME", value_parser = some_time)]
    pub(crate) key_window: Duration,
    /// Tests of a pattern that one request for the last events may take
    #[arg(long, env = "CARAFE_PATTERN_TESTS", default_value = "20000000", value_name = "N")]
    pub(crate) pattern_tests: u64,
    /// Shows events of these topics for a shorter time, such as sessions/*=1h; for several, repeat
    /// it or use commas
    #[arg(long, env = "CARAFE_RETAIN", value_delimiter = ',', value_name = "PATTERN=TIME", value_parser = retention)]
    pub(crate) retain: Vec<Retention>,
    /// Size of the files that the history on disk is kept in [default: a 32nd of the history, from
    /// 4KiB to 64MiB]
    #[arg(long, env = "CARAFE_SEGMENT_BYTES", value_name = "SIZE", value_parser = segment_bytes)]
    pub(crate) segment_bytes: Option<u32>,
    /// Events that may wait to be stored on disk
    #[arg(long, env = "CARAFE_WAITING_BYTES", default_value = "64MiB", value_name = "SIZE")]
    pub(crate) waiting_bytes: ByteSize,
    /// Threads that read history from disk
    #[arg(long, env = "CARAFE_READERS", default_value = "4", value_name = "N")]
    pub(crate) readers: usize,
    /// Memory for recent events, ready to be sent
    #[arg(long, env = "CARAFE_RING_BYTES", default_value = "64MiB", value_name = "SIZE")]
    pub(crate) ring_bytes: ByteSize,
    /// Data that one event may have
    #[arg(long, env = "CARAFE_EVENT_BYTES", default_value = "1MiB", value_name = "SIZE")]
    pub(crate) event_bytes: ByteSize,
    /// Size that a batch may have
    #[arg(long, env = "CARAFE_BATCH_BYTES", default_value = "16MiB", value_name = "SIZE")]
    pub(crate) batch_bytes: ByteSize,
    /// Memory for the bodies of requests while they are read and stored; one client may have half
    /// of it
    #[arg(long, env = "CARAFE_BODY_BYTES_IN_FLIGHT", default_value = "64MiB", value_name = "SIZE")]
    pub(crate) body_bytes_in_flight: ByteSize,
    /// Topics and patterns that one stream may ask for
    #[arg(long, env = "CARAFE_MATCHERS", default_value = "100", value_name = "N")]
    pub(crate) matchers: usize,
    /// Distinct patterns in use beyond literals, :name and * between slashes
    #[arg(long, env = "CARAFE_COMPLEX_PATTERNS", default_value = "1000", value_name = "N")]
    pub(crate) complex_patterns: usize,
    /// Of these, how many one client may have, by its token's subject or else its address
    #[arg(
        long,
        env = "CARAFE_COMPLEX_PATTERNS_PER_CLIENT",
        default_value = "100",
        value_name = "N"
    )]
    pub(crate) complex_patterns_per_client: usize,
    /// Streams that may be open; who comes then is told to come back later [default: as many as the
    /// process has file descriptors for]
    #[arg(long, env = "CARAFE_SUBSCRIBERS", value_name = "N", value_parser = bound)]
    pub(crate) subscribers: Option<usize>,
    /// Streams that one client address may have open, or unlimited; an IPv6 client is counted by
    /// its /64
    #[arg(long, env = "CARAFE_SUBSCRIBERS_PER_ADDRESS", default_value = "1000", value_name = "N", value_parser = bound)]
    pub(crate) subscribers_per_address: usize,
    /// Connections that one client address may have, those of its streams too; those of trusted
    /// proxies are not limited [default: twice --subscribers-per-address, at least 100]
    #[arg(long, env = "CARAFE_CONNECTIONS_PER_ADDRESS", value_name = "N", value_parser = bound)]
    pub(crate) connections_per_address: Option<usize>,
    /// Streams that may read history at once; the others wait for their turn
    #[arg(long, env = "CARAFE_REPLAYS", default_value = "64", value_name = "N")]
    pub(crate) replays: usize,
    /// Of these, how many one client may have, by its token's subject or else its address
    #[arg(long, env = "CARAFE_REPLAYS_PER_CLIENT", default_value = "4", value_name = "N")]
    pub(crate) replays_per_client: usize,
    /// Events that one publisher may publish in a time, such as 100/s [default: any number]
    #[arg(long, env = "CARAFE_PUBLISH_RATE", value_name = "N/TIME")]
    pub(crate) publish_rate: Option<Rate>,
    /// Events that one publisher may publish at once [default: those of the publish rate]
    #[arg(long, env = "CARAFE_PUBLISH_BURST", value_name = "N")]
    pub(crate) publish_burst: Option<NonZeroU32>,
    #[command(flatten)]
    pub(crate) mercure: MercureOptions,
    /// Silence after which a stream says that it is alive
    #[arg(long, env = "CARAFE_HEARTBEAT", default_value = "15s", value_name = "TIME", value_parser = some_time)]
    pub(crate) heartbeat: Duration,
    /// How long clients wait before they reconnect, give or take a quarter
    #[arg(long, env = "CARAFE_RETRY", default_value = "2s", value_name = "TIME", value_parser = time)]
    pub(crate) retry: Duration,
    /// How long a TLS handshake, and then a request's head, may take to arrive
    #[arg(long, env = "CARAFE_HEADER_TIMEOUT", default_value = "10s", value_name = "TIME", value_parser = some_time)]
    pub(crate) header_timeout: Duration,
    /// Size that a request's head may have, at least 8KiB
    #[arg(long, env = "CARAFE_HEADER_BYTES", default_value = "16KiB", value_name = "SIZE")]
    pub(crate) header_bytes: ByteSize,
    /// How long a request's body may take to arrive
    #[arg(long, env = "CARAFE_BODY_TIMEOUT", default_value = "30s", value_name = "TIME", value_parser = some_time)]
    pub(crate) body_timeout: Duration,
    /// Threads that send events to streams over HTTP/1.1 [default: half the cores]
    #[arg(long, env = "CARAFE_SHARDS", value_name = "N")]
    pub(crate) shards: Option<NonZeroUsize>,
    /// How long a client may take nothing of what it is sent before it is cut
    #[arg(long, env = "CARAFE_WRITE_TIMEOUT", default_value = "30s", value_name = "TIME", value_parser = some_time)]
    pub(crate) write_timeout: Duration,
    /// Memory that the system may hold for what a client has yet to take
    #[arg(long, env = "CARAFE_SEND_BUFFER", default_value = "36KiB", value_name = "SIZE")]
    pub(crate) send_buffer: ByteSize,
    /// Memory that the system may hold beyond that for all clients that catch up
    #[arg(long, env = "CARAFE_CATCH_UP_BYTES", default_value = "64MiB", value_name = "SIZE")]
    pub(crate) catch_up_bytes: ByteSize,
    /// Tells metrics to Prometheus at http://ADDR/metrics; they are not for strangers, so use a
    /// loopback or private address
    #[arg(long, env = "CARAFE_METRICS_LISTEN", value_name = "ADDR")]
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// How the log is written to standard error
    #[arg(long, env = "CARAFE_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
    /// How long the orderly end of all streams may take
    #[arg(long, env = "CARAFE_DRAIN_TIMEOUT", default_value = "10s", value_name = "TIME", value_parser = time)]
    pub(crate) drain_timeout: Duration,
}

/// How Mercure is spoken.
#[derive(Args, Debug)]
pub(crate) struct MercureOptions {
    /// Speak the Mercure protocol too, on /.well-known/mercure; a key of a Mercure dialect means so
    /// by itself
    #[arg(
        long, env = "CARAFE_MERCURE", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_value = "false", default_missing_value = "true", value_name = "BOOL"
    )]
    pub(crate) mercure: bool,
    /// Tell who is subscribed by Mercure 0.x, by its subscription API and by private updates
    #[arg(
        long, env = "CARAFE_MERCURE_SUBSCRIPTIONS", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_value = "false", default_missing_value = "true", value_name = "BOOL"
    )]
    pub(crate) mercure_subscriptions: bool,
    /// How long a stream of Mercure stays open at most, give or take a fifth less; without it, as
    /// long as its token
    #[arg(long, env = "CARAFE_MERCURE_MAX_AGE", value_name = "TIME", value_parser = some_time)]
    pub(crate) mercure_max_age: Option<Duration>,
    /// The origin under which clients reach the hub, such as https://hub.example.com; Mercure 1.0
    /// needs it
    #[arg(long, env = "CARAFE_PUBLIC_URL", value_name = "URL", value_parser = public_url)]
    pub(crate) public_url: Option<Url>,
}

/// Where events are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LogPlace {
    Memory,
    Disk(PathBuf),
}

#[derive(Args, Debug)]
pub(crate) struct PublishOptions {
    /// The topic to publish to
    pub(crate) topic: String,
    /// The event's data; - or nothing reads standard input, each line an event
    pub(crate) data: Option<String>,
    /// Take standard input as the data of one event
    #[arg(long)]
    pub(crate) whole: bool,
    /// The events' type
    #[arg(long, short, value_name = "TYPE")]
    pub(crate) event: Option<String>,
    /// An idempotency key: publishing again with it stores nothing
    #[arg(long, value_name = "KEY")]
    pub(crate) id: Option<String>,
    /// Show the events only to who may see private ones
    #[arg(long)]
    pub(crate) private: bool,
    /// Print the hub's answer for each event as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// The hub
    #[arg(long, env = "CARAFE_URL", default_value = "http://127.0.0.1:3000")]
    pub(crate) url: String,
    /// A file with the token to send; the variable CARAFE_TOKEN may have the token itself
    #[arg(long, env = "CARAFE_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct SubscribeOptions {
    /// The topics; without any and without patterns, all
    pub(crate) topics: Vec<String>,
    /// A URL Pattern of topics, such as orders/*
    #[arg(long, short, value_name = "PATTERN")]
    pub(crate) pattern: Vec<String>,
    /// End after so many events
    #[arg(long, short = 'n', value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Print topic, id, time, type and data of each event as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Begin with all history
    #[arg(long, group = "start")]
    pub(crate) earliest: bool,
    /// Begin with the last N events
    #[arg(long, group = "start", value_name = "N")]
    pub(crate) last: Option<u64>,
    /// Begin after the event with this ID
    #[arg(long, group = "start", value_name = "ID")]
    pub(crate) after: Option<String>,
    /// The hub
    #[arg(long, env = "CARAFE_URL", default_value = "http://127.0.0.1:3000")]
    pub(crate) url: String,
    /// A file with the token to send; the variable CARAFE_TOKEN may have the token itself
    #[arg(long, env = "CARAFE_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

impl Cli {
    /// Reads the command line, the environment and the file: the flag wins, then the variable, then
    /// the file.
    pub(crate) fn from_process() -> Result<Self, Failure> {
        let args: Vec<OsString> = env::args_os().collect();
        let command = config::with_file(Self::command(), &args)?;
        let parsed =
            command.try_get_matches_from(args).and_then(|matches| Self::from_arg_matches(&matches));
        parsed.map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
            _ => Failure::usage(one_sentence(&error)),
        })
    }
}

/// What clap says in its first paragraph; the rest is usage, which --help shows better.
fn one_sentence(error: &clap::Error) -> String {
    let text = error.to_string();
    let paragraph: Vec<_> =
        text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    let sentence = paragraph.join(" ");
    format!("{}; see carafe --help", sentence.trim_start_matches("error: "))
}

fn time(text: &str) -> Result<Duration, String> {
    let time: Option<jiff::SignedDuration> = text.parse().ok();
    time.and_then(|time| Duration::try_from(time).ok())
        .ok_or_else(|| "write a time such as 500ms, 15s or 2m".into())
}

pub(crate) fn some_time(text: &str) -> Result<Duration, String> {
    Some(time(text)?)
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "no time at all is too short: write one such as 15s".into())
}

/// How many of something there may be.
fn bound(text: &str) -> Result<usize, String> {
    match text {
        "unlimited" => Ok(usize::MAX),
        _ => text.parse().map_err(|_| "write a whole number, or unlimited".into()),
    }
}

fn public_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let is_origin =
        |url: &Url| url.origin().ascii_serialization() == url.as_str().trim_end_matches('/');
    url.filter(is_origin)
        .ok_or_else(|| "write an origin without a path, such as https://hub.example.com".into())
}

fn retention(text: &str) -> Result<Retention, String> {
    let (topics, age) =
        text.rsplit_once('=').ok_or("write a pattern and a time such as sessions/*=1h")?;
    let topics = TopicPattern::new(topics).map_err(|error| error.to_string())?;
    Ok(Retention { topics, age: some_time(age)? })
}

fn segment_bytes(text: &str) -> Result<u32, String> {
    let bytes: Option<ByteSize> = text.parse().ok();
    let bytes = bytes.and_then(|size| u32::try_from(size.as_u64()).ok());
    bytes
        .filter(|bytes| (4 << 10..=2 << 30).contains(bytes))
        .ok_or_else(|| "write a size from 4KiB to 2GiB, such as 64MiB".into())
}

fn log_place(text: &str) -> Result<LogPlace, String> {
    match text.split_once(':') {
        Some(("memory", "")) => Ok(LogPlace::Memory),
        Some(("disk", path)) if !path.is_empty() => Ok(LogPlace::Disk(path.into())),
        _ => Err("write disk:PATH or memory:".into()),
    }
}
