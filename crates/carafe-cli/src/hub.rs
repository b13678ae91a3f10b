//! `carafe dev` and `carafe serve`: the hub as a program.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use carafe_http::auth::{Credentials, Dialect};
use carafe_http::{
    BodyBudget, CatchUp, Mercure, Metrics, Network, Options, Page, Proxies, ProxyHeader, Rights,
    Served, ServerOptions, ShardOptions, Tls, metrics_router,
};
use carafe_hub::{Grant, Hub, HubLimits};
use carafe_log::{DiskLog, DiskOptions, MemoryLimits, MemoryLog, Publication};
use carafe_protocol::Topic;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::cli::{
    Anonymous, CredentialOptions, HubOptions, LogPlace, MercureOptions, ProxyHeaderName,
    ServeOptions,
};
use crate::closing::Closing;
use crate::descriptors::Descriptors;
use crate::failure::Failure;
use crate::keys;
use crate::logging;
use crate::reload::Reloads;
use crate::reloadable::Adjustable;
use crate::returned;

/// A hub for this machine.
pub(crate) async fn dev(options: HubOptions, closing: Closing) -> Result<(), Failure> {
    logging::start(options.log_format);
    let mut access = Options::default();
    access.anonymous = Rights::all();
    access.page = Page::Console;
    access.loopback_only = true;
    let descriptors = Descriptors::raise(files(&options));
    let access = Adjustable::new(descriptors, &options, &[]).add_to(access);
    let access = with_limits(access, &options)?;
    let serving = serve_options(&options, descriptors, &access);
    run(&options, access, serving, &closing, |hub| {
        tokio::spawn(tick(hub));
    })
    .await
}

/// A hub for others.
pub(crate) async fn serve(options: ServeOptions, closing: Closing) -> Result<(), Failure> {
    // Keys in files that others may read are warned of.
    logging::start(options.hub.log_format);
    let mut reloads = Reloads::default();
    let keys = keys::keys(options.keys, &mut reloads)?;
    if options.anonymous.is_empty() && keys.is_empty() {
        return Err(Failure::usage(
            "nobody could use this hub: give it keys by --secret-file or --keys, or say what \
             strangers may do, such as \
             --anonymous subscribe,publish",
        ));
    }
    let mut access = Options::default();
    access.anonymous = anonymous(&options.anonymous);
    access.keys = keys.clone();
    access.credentials = credentials(options.credentials);
    access.proxies = proxies(options.trusted_proxies, options.proxy_header);
    access.page = Page::Plain;
    let descriptors = Descriptors::raise(files(&options.hub));
    let adjustable = Adjustable::new(descriptors, &options.hub, &options.allow_origin);
    adjustable.reload_from(options.hub.config.as_ref(), &mut reloads);
    let access = with_limits(adjustable.add_to(access), &options.hub)?;
    let mut serving = serve_options(&options.hub, descriptors, &access);
    serving.hsts = options.hsts;
    serving.tls = tls(options.tls_cert, options.tls_key, &mut reloads)?;
    reloads.start()?;
    run(&options.hub, access, serving, &closing, |_| {
        tokio::spawn(keys::keep_new(keys));
    })
    .await
}

fn proxies(trusted: Vec<Network>, header: ProxyHeaderName) -> Proxies {
    let header = match header {
        ProxyHeaderName::XForwardedFor => ProxyHeader::XForwardedFor,
        ProxyHeaderName::Forwarded => ProxyHeader::Forwarded,
    };
    Proxies::new(trusted, header)
}

fn credentials(options: CredentialOptions) -> Credentials {
    let mut credentials = Credentials::default();
    credentials.cookie = options.cookie;
    credentials.in_query = options.token_in_query;
    credentials
}

fn anonymous(anonymous: &[Anonymous]) -> Rights {
    let may = |what| anonymous.contains(&what);
    let rights = if may(Anonymous::Subscribe) { Rights::subscribe() } else { Rights::none() };
    if may(Anonymous::Publish) { rights.with_publish(Grant::all()) } else { rights }
}

/// The certificate, if the hub is to have one.
fn tls(
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    reloads: &mut Reloads,
) -> Result<Option<Tls>, Failure> {
    let (certificate, key) = match (certificate, key) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        _ => {
            return Err(Failure::usage(
                "a certificate and its key go together: give both --tls-cert and --tls-key",
            ));
        }
    };
    let tls = Tls::load(&certificate, &key).map_err(Failure::usage)?;
    keys::warn_if_shared(&key);
    let reloaded = tls.clone();
    let reload = move || reloaded.reload().map_err(|error| error.to_string());
    reloads.add("the certificate", [certificate, key], reload);
    Ok(Some(tls))
}

async fn run(
    options: &HubOptions,
    access: Options,
    serving: ServerOptions,
    closing: &Closing,
    started: impl FnOnce(Hub),
) -> Result<(), Failure> {
    let stop = stop_signal()?;
    let listener = listen(options.listen)?;
    let (hub, failure) = hub(options, closing)?;
    let metrics = tell_metrics(options, hub.clone(), &access.metrics).await?;
    tokio::spawn(returned::give_back(access.body_budget.clone()));
    let app = carafe_http::router(hub.clone(), access);
    let scheme = if serving.tls.is_some() { "https" } else { "http" };
    logging::tell_ready(options.log_format, scheme, listener.local_addr()?);
    metrics.into_iter().for_each(|address| info!("metrics on http://{address}/metrics"));
    started(hub.clone());
    let stop = first_of(stop, failure);
    let (told, stopped) = oneshot::channel();
    let Served { cut, .. } = carafe_http::serve(listener, app, &hub, serving, async {
        // The other end is read when serving is over.
        let _ = told.send(stop.await);
    })
    .await?;
    if cut > 0 {
        warn!(cut, "the drain time is over; cut the streams that had not ended");
    }
    stopped.await.unwrap_or(Ok(()))
}

/// Tells metrics on a listener of their own, until the program ends; gives its address.
async fn tell_metrics(
    options: &HubOptions,
    hub: Hub,
    metrics: &Metrics,
) -> Result<Option<SocketAddr>, Failure> {
    let Some(address) = options.metrics_listen else { return Ok(None) };
    let listener = listen(address)?;
    let address = listener.local_addr()?;
    let mut serving = ServerOptions::default();
    serving.header_timeout = options.header_timeout;
    serving.header_bytes = bytes(options.header_bytes);
    tokio::spawn(carafe_http::serve_beside(listener, metrics_router(metrics, hub), serving)?);
    Ok(Some(address))
}

type LogFailure = Pin<Box<dyn Future<Output = String> + Send>>;

/// The hub on its log, and what completes when the log fails.
fn hub(options: &HubOptions, closing: &Closing) -> Result<(Hub, LogFailure), Failure> {
    let limits = HubLimits::default()
        .with_ring_bytes(bytes(options.ring_bytes))
        .with_matchers(options.matchers)
        .with_complex_patterns(options.complex_patterns)
        .with_complex_patterns_per_client(options.complex_patterns_per_client)
        .with_replays(options.replays)
        .with_replays_per_client(options.replays_per_client)
        .with_retention(options.retain.clone());
    match &options.log {
        LogPlace::Memory => {
            let log = MemoryLog::new(memory_limits(options));
            Ok((Hub::with_limits(log, limits), Box::pin(std::future::pending())))
        }
        LogPlace::Disk(path) => {
            let log = DiskLog::open(path, disk_options(options)).map_err(Failure::failed)?;
            let failure = log.failure();
            closing.wait_for(log.closed());
            Ok((Hub::with_limits(log, limits), Box::pin(failure)))
        }
    }
}

fn memory_limits(options: &HubOptions) -> MemoryLimits {
    let mut limits = MemoryLimits::default();
    if let Some(events) = options.history_events {
        limits.entries = usize::try_from(events).unwrap_or(usize::MAX);
    }
    limits.bytes = options.history_bytes.map_or(limits.bytes, bytes);
    (limits.key_window, limits.pattern_tests) = (options.key_window, options.pattern_tests);
    limits
}

fn disk_options(options: &HubOptions) -> DiskOptions {
    let kept = DiskOptions::default();
    kept.with_entries(options.history_events.unwrap_or(kept.entries))
        .with_bytes(options.history_bytes.map_or(kept.bytes, |size| size.as_u64()))
        .with_age(options.history_age)
        .with_segment_bytes(options.segment_bytes)
        .with_waiting_bytes(bytes(options.waiting_bytes))
        .with_readers(options.readers)
        .with_key_window(options.key_window)
        .with_pattern_tests(options.pattern_tests)
}

/// How many files the log may have open: its segments, and an index for each reader.
fn files(options: &HubOptions) -> u64 {
    match options.log {
        LogPlace::Memory => 0,
        LogPlace::Disk(_) => disk_options(options).files(),
    }
}

/// Waits until the process is told to stop, or the log has failed, which is a failure of the hub
/// too.
async fn first_of(stop: impl Future<Output = ()>, failure: LogFailure) -> Result<(), Failure> {
    tokio::select! {
        () = stop => Ok(()),
        reason = failure => Err(Failure::failed(format!("the log has failed: {reason}"))),
    }
}

fn with_limits(mut access: Options, options: &HubOptions) -> Result<Options, Failure> {
    access.heartbeat = options.heartbeat;
    access.retry = options.retry;
    access.event_bytes = bytes(options.event_bytes);
    access.batch_bytes = bytes(options.batch_bytes);
    access.body_timeout = options.body_timeout;
    access.body_budget = body_budget(options)?;
    access.mercure = mercure(&access, &options.mercure);
    Ok(access)
}

/// What may be published has to have room, or it would be refused each time.
fn body_budget(options: &HubOptions) -> Result<BodyBudget, Failure> {
    let budget = BodyBudget::new(bytes(options.body_bytes_in_flight));
    let largest = options.event_bytes.max(options.batch_bytes);
    if budget.largest_body() < bytes(largest) {
        return Err(Failure::usage(format!(
            "one client may have half of --body-bytes-in-flight, which is less than an event or a \
             batch may have, {largest}: \
             give it at least twice as much, or lower --event-bytes and --batch-bytes"
        )));
    }
    Ok(budget)
}

/// Who has a key of a Mercure dialect wants it spoken.
fn mercure(access: &Options, options: &MercureOptions) -> Option<Mercure> {
    let has_key = access.keys.speak(Dialect::Mercure0) || access.keys.speak(Dialect::Mercure1);
    (options.mercure || has_key).then(|| {
        let mut mercure = Mercure::default();
        mercure.public_url = options.public_url.clone();
        mercure.subscriptions = options.mercure_subscriptions;
        mercure.max_age = options.mercure_max_age;
        mercure
    })
}

fn serve_options(
    options: &HubOptions,
    descriptors: Descriptors,
    access: &Options,
) -> ServerOptions {
    let mut serving = access.server();
    serving.header_timeout = options.header_timeout;
    serving.header_bytes = bytes(options.header_bytes);
    serving.drain_timeout = options.drain_timeout;
    serving.descriptors = Some(descriptors.for_connections());
    serving.shards = shards(options);
    serving
}

fn shards(options: &HubOptions) -> ShardOptions {
    let mut shards = ShardOptions::default();
    shards.threads = options.shards.unwrap_or(shards.threads);
    shards.write_timeout = options.write_timeout;
    shards.send_buffer = bytes(options.send_buffer);
    shards.catch_up = CatchUp::new(bytes(options.catch_up_bytes));
    shards
}

fn bytes(size: bytesize::ByteSize) -> usize {
    usize::try_from(size.as_u64()).unwrap_or(usize::MAX)
}

/// Connections that may wait to be accepted, as far as the system lets them: after a restart all
/// clients come at once, and whoever finds no room is reset.
const BACKLOG: u32 = 65_535;

fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    bind(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => Failure::usage(format!(
            "{address} is in use: stop what listens there, or choose another by --listen"
        )),
        _ => Failure::usage(format!("cannot listen on {address}: {error}")),
    })
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A port whose last connections are still being closed is free.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Completes when the process is told to stop, by a service manager or from the keyboard.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("draining");
    })
}

/// The tutorial's counter, as a topic: one more each second, for as long as the hub takes events.
async fn tick(hub: Hub) {
    let topic = Topic::new("count").expect("a plain word is a topic");
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for count in 1_u64.. {
        second.tick().await;
        if hub.publish(Publication::new(topic.clone(), count.to_string())).await.is_err() {
            return;
        }
    }
}
