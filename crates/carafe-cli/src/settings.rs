//! Translates the options of the command line into those of the libraries.

use std::time::Duration;

use carafe_http::auth::{Credentials, Dialect};
use carafe_http::{
    BodyBudget, CatchUp, Mercure, Network, Options, Proxies, ProxyHeader, RevocationLimits,
    Revocations, Rights, ServerOptions, ShardOptions,
};
use carafe_hub::{Grant, HubLimits};
use carafe_log::{DiskOptions, MemoryLimits};

use crate::cli::{
    Anonymous, CredentialOptions, HubOptions, LogPlace, MercureOptions, ProxyHeaderName,
};
use crate::descriptors::Descriptors;
use crate::failure::Failure;

pub(crate) fn proxies(trusted: &[Network], header: ProxyHeaderName) -> Proxies {
    let header = match header {
        ProxyHeaderName::XForwardedFor => ProxyHeader::XForwardedFor,
        ProxyHeaderName::Forwarded => ProxyHeader::Forwarded,
    };
    Proxies::new(trusted.to_vec(), header)
}

pub(crate) fn credentials(options: &CredentialOptions) -> Credentials {
    let mut credentials = Credentials::default();
    credentials.cookie.clone_from(&options.cookie);
    credentials.in_query = options.token_in_query;
    credentials
}

pub(crate) fn anonymous(anonymous: &[Anonymous]) -> Rights {
    let may = |what| anonymous.contains(&what);
    let rights = if may(Anonymous::Subscribe) { Rights::subscribe() } else { Rights::none() };
    if may(Anonymous::Publish) { rights.with_publish(Grant::all()) } else { rights }
}

/// What the hub may remember of revocations.
pub(crate) fn revocations(options: &HubOptions, token_life: Option<Duration>) -> Revocations {
    let mut limits = RevocationLimits::default();
    limits.most = options.revocations;
    limits.token_life = token_life;
    limits.history_age = options.history_age;
    Revocations::new(limits)
}

pub(crate) fn memory_limits(options: &HubOptions) -> MemoryLimits {
    let mut limits = MemoryLimits::default();
    if let Some(events) = options.history_events {
        limits.entries = usize::try_from(events).unwrap_or(usize::MAX);
    }
    limits.bytes = options.history_bytes.map_or(limits.bytes, bytes);
    (limits.key_window, limits.pattern_tests) = (options.key_window, options.pattern_tests);
    limits.ended_topics = options.ended_topics;
    limits
}

pub(crate) fn disk_options(options: &HubOptions) -> DiskOptions {
    let kept = DiskOptions::default();
    kept.with_entries(options.history_events.unwrap_or(kept.entries))
        .with_bytes(options.history_bytes.map_or(kept.bytes, |size| size.as_u64()))
        .with_age(options.history_age)
        .with_segment_bytes(options.segment_bytes)
        .with_waiting_bytes(bytes(options.waiting_bytes))
        .with_readers(options.readers)
        .with_key_window(options.key_window)
        .with_pattern_tests(options.pattern_tests)
        .with_erase_within(options.erase_within)
        .with_erasures(options.erasures)
        .with_ended_topics(options.ended_topics)
}

/// How much history the log keeps.
pub(crate) fn history_bytes(options: &HubOptions) -> u64 {
    match options.log {
        LogPlace::Memory => memory_limits(options).bytes as u64,
        LogPlace::Disk(_) => disk_options(options).bytes,
    }
}

/// The most files that the log has open: its segments, and an index for each reader.
pub(crate) fn log_files(options: &HubOptions) -> u64 {
    match options.log {
        LogPlace::Memory => 0,
        LogPlace::Disk(_) => disk_options(options).files(),
    }
}

/// The limits of the hub.
pub(crate) fn hub_limits(options: &HubOptions) -> HubLimits {
    HubLimits::default()
        .with_ring_bytes(bytes(options.ring_bytes))
        .with_matchers(options.matchers)
        .with_complex_patterns(options.complex_patterns)
        .with_complex_patterns_per_client(options.complex_patterns_per_client)
        .with_replays(options.replays)
        .with_replays_per_client(options.replays_per_client)
        .with_latest_events(options.latest_events)
        .with_snapshot_bytes(bytes(options.snapshot_bytes))
        .with_retention(options.retain.clone())
}

pub(crate) fn apply(options: &HubOptions, access: &mut Options) -> Result<(), Failure> {
    access.base_path = options.base_path.clone();
    access.heartbeat = options.heartbeat;
    access.heartbeat_range = options.heartbeat_range.clone();
    access.retry = options.retry;
    access.event_retry = options.event_retry.clone();
    // An erased event is gone from caches when it is gone from the disk.
    access.shared_page_age = options.erase_within;
    access.event_bytes = bytes(options.event_bytes);
    access.batch_bytes = bytes(options.batch_bytes);
    access.body_timeout = options.body_timeout;
    access.body_budget = body_budget(options)?;
    access.mercure = mercure(access, &options.mercure);
    Ok(())
}

/// The budget for request bodies, in which the largest event and batch must fit.
fn body_budget(options: &HubOptions) -> Result<BodyBudget, Failure> {
    let budget = BodyBudget::new(bytes(options.body_bytes_in_flight));
    let largest = options.event_bytes.max(options.batch_bytes);
    if budget.largest_body() < bytes(largest) {
        return Err(Failure::usage(format!(
            "--body-bytes-in-flight must be at least twice the largest event or batch, {largest}: \
             raise it, or lower --event-bytes and --batch-bytes"
        )));
    }
    Ok(budget)
}

/// A key with a Mercure dialect enables the protocol.
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

pub(crate) fn server_options(
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

pub(crate) fn bytes(size: bytesize::ByteSize) -> usize {
    usize::try_from(size.as_u64()).unwrap_or(usize::MAX)
}
