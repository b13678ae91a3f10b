//! `carafe dev` and `carafe serve`: start a hub, serve it until SIGTERM or SIGINT, and drain it.

use std::future::pending;
use std::path::PathBuf;
use std::time::Duration;

use carafe_http::{BasePath, Options, Page, Rights, Served, ServerOptions, Tls, metrics_router};
use carafe_hub::Hub;
use carafe_log::{DiskLog, MemoryLog};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::check;
use crate::cli::{HubOptions, LogPlace, ServeOptions, Settings};
use crate::closing::Closing;
use crate::cluster::{Cluster, Opened};
use crate::demo::{self, Demo};
use crate::descriptors::Descriptors;
use crate::ending::ending;
use crate::failure::Failure;
use crate::keys;
use crate::letting_in::{ended_soon, let_in};
use crate::listen::{self, Places, Sockets};
use crate::logging;
use crate::passed_sockets::PassedSockets;
use crate::rejecting::Rejecting;
use crate::reload::Reloads;
use crate::reloadable::Adjustable;
use crate::returned;
use crate::service_manager;
use crate::settings;
use crate::startup::Startup;
use crate::stop_signals::StopSignals;

/// Runs a hub for development, open to programs and pages of this machine.
pub(crate) async fn dev(
    options: HubOptions,
    passed: PassedSockets,
    closing: Closing,
) -> Result<(), Failure> {
    logging::start(options.log_format);
    let mut access = Options::default();
    access.anonymous = Rights::all();
    access.page = Page::Console;
    access.revocations = settings::revocations(&options, None);
    access.loopback_only = true;
    let descriptors = Descriptors::raise(settings::log_files(&options));
    Adjustable::new(descriptors, &options, &[]).share_with(&mut access);
    settings::apply(&options, &mut access)?;
    let serving = settings::server_options(&options, descriptors, &access);
    let (options, demo) = (&options, Some(Demo::start()));
    let closing = &closing;
    run(Start { options, cluster: None, access, serving, passed, closing, demo }).await
}

/// Runs a hub.
pub(crate) async fn serve(
    options: ServeOptions,
    passed: PassedSockets,
    in_use: Settings,
    closing: Closing,
) -> Result<(), Failure> {
    // Before the keys, which may cause warnings about their files.
    logging::start(options.hub.log_format);
    let mut reloads = Reloads::default();
    let keys = keys::keys(options.keys.clone(), &mut reloads)?;
    if options.anonymous.is_empty() && keys.is_empty() {
        return Err(Failure::usage(
            "nobody could use this hub: give it keys with --secret-file or --keys, or allow \
             clients without a token something, for example with --anonymous subscribe,publish",
        ));
    }
    let mut access = Options::default();
    access.anonymous = settings::anonymous(&options.anonymous);
    access.keys = keys.clone();
    access.credentials = settings::credentials(&options.credentials);
    access.proxies = settings::proxies(&options.trusted_proxies, options.proxy_header);
    access.page = Page::Plain;
    access.revocations = settings::revocations(&options.hub, options.keys.token_life);
    let descriptors = Descriptors::raise(settings::log_files(&options.hub));
    let cluster = Cluster::of(&options.cluster, in_use.clone());
    let adjustable = Adjustable::new(descriptors, &options.hub, &options.allow_origin);
    adjustable.reload_from(options.hub.config.as_ref(), in_use, &mut reloads);
    adjustable.share_with(&mut access);
    settings::apply(&options.hub, &mut access)?;
    let mut serving = settings::server_options(&options.hub, descriptors, &access);
    serving.hsts = options.hsts;
    serving.tls = tls(options.tls_cert.clone(), options.tls_key.clone(), &mut reloads)?;
    if options.check {
        return check::report(&options, cluster.as_ref(), &mut access).await;
    }
    // After all have been added: SIGHUP is handled from here on, and would end the process before.
    reloads.start()?;
    tokio::spawn(keys::refresh_sets(keys));
    let (options, closing) = (&options.hub, &closing);
    run(Start { options, cluster, access, serving, passed, closing, demo: None }).await
}

/// Loads the certificate, if one is configured.
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
                "TLS requires a certificate and its key: give both --tls-cert and --tls-key",
            ));
        }
    };
    let tls = Tls::load(&certificate, &key).map_err(Failure::usage)?;
    keys::warn_if_shared(&key);
    let reloaded = tls.clone();
    let reload = move || reloaded.reload().map_err(|error| error.to_string()).map(|()| None);
    reloads.add("the certificate", [certificate, key], reload);
    Ok(Some(tls))
}

/// What a hub is started with.
struct Start<'a> {
    options: &'a HubOptions,
    cluster: Option<Cluster>,
    access: Options,
    serving: ServerOptions,
    passed: PassedSockets,
    closing: &'a Closing,
    demo: Option<Demo>,
}

async fn run(start: Start<'_>) -> Result<(), Failure> {
    let Start { options, cluster, mut access, serving, mut passed, closing, demo } = start;
    // First, so that a signal during the rest of the start drains the hub instead of killing it.
    let mut signals = StopSignals::new()?;
    // Sockets that were passed cannot be opened again by a new start of the program.
    let again = passed.is_empty().then(|| closing.clone());
    // Before the log is opened, which may take long: a port in use is reported at once.
    let sockets = listen::open(options, &mut passed)?;
    let rejecting = Rejecting {
        listeners: &sockets.listeners,
        serving: &serving,
        base_path: &options.base_path,
        reason: "this node waits for the engine of the cluster",
    };
    let Opened { hub, node: filling, failure } = match &cluster {
        None => open_log(options, closing)?,
        Some(cluster) => tokio::select! {
            started = rejecting.during(cluster.start(options, &mut access, closing)) => started?,
            // The engine may be away.
            () = signals.next() => return Ok(()),
        },
    };
    let metrics = serve_metrics(options, &mut passed, hub.clone(), &access)?;
    tokio::spawn(returned::give_back(access.body_budget.clone()));
    let startup = Startup::of(options, cluster.as_ref().map(|cluster| &cluster.url), &access);
    let node = filling.as_ref().map(|(node, _)| node.clone());
    let is_node = node.is_some();
    let letting_in = let_in(filling, access.revocations.clone(), access.readiness.clone());
    let mut app = carafe_http::router(hub.clone(), access);
    // Before the first request, and an error ends the program: the hub must not accept tokens that
    // it cannot check. A node may take long, and rejects clients meanwhile.
    let letting_in = ended_soon(letting_in, is_node).await?;
    if let Some((hub, access)) = demo.as_ref().map(Demo::endpoint) {
        let path = format!("{}{}", options.base_path, demo::PATH);
        app = app.nest_service(&path, carafe_http::router(hub, access));
    }
    let scheme = if serving.tls.is_some() { "https" } else { "http" };
    let Sockets { listeners, places } = sockets;
    announce(&startup, options, &places, metrics.as_ref(), scheme);
    service_manager::is_ready(hub.clone());
    let ending = ending(node, failure, letting_in, again);
    let stop = first_of(signals.stop(hub.clone(), options.shutdown_delay), ending);
    let (sender, stopped) = oneshot::channel();
    let drain = begin_to_drain(stop, closing.clone(), demo, sender);
    let Served { cut, .. } = carafe_http::serve(listeners, app, &hub, serving, drain).await?;
    if cut > 0 {
        warn!(cut, "the drain timeout is over; disconnected the remaining streams");
    }
    if is_node && timeout(CLOSE_TIMEOUT, hub.close()).await.is_err() {
        warn!("the engine of the cluster is away: what was not acknowledged may be stored or not");
    }
    stopped.await.unwrap_or(Ok(()))
}

fn announce(
    startup: &Startup,
    options: &HubOptions,
    places: &Places,
    metrics: Option<&Places>,
    scheme: &str,
) {
    let urls = places.addresses.iter().map(|address| url(scheme, address, &options.base_path));
    startup.announce(&urls.collect::<Vec<_>>());
    for address in metrics.iter().flat_map(|places| &places.addresses) {
        info!("metrics on {}/metrics", url("http", address, &BasePath::default()));
    }
}

/// Completes when the streams shall end. The reason is sent.
async fn begin_to_drain(
    stop: impl Future<Output = Result<(), Failure>>,
    closing: Closing,
    demo: Option<Demo>,
    reason: oneshot::Sender<Result<(), Failure>>,
) {
    let stopped = stop.await;
    info!("draining");
    if closing.restart().is_some() {
        service_manager::restarts();
        tokio::spawn(stop_instead(closing));
    } else {
        service_manager::stops();
    }
    demo.iter().for_each(Demo::end);
    // It is read after serving; an error means that serving has failed.
    let _ = reason.send(stopped);
}

/// Lets a signal end the program although it was about to start again.
async fn stop_instead(closing: Closing) {
    match StopSignals::new() {
        Ok(mut signals) => signals.next().await,
        Err(error) => return warn!(%error, "signals are not handled until the hub has started"),
    }
    info!("stopping instead of starting again");
    closing.end();
    service_manager::stops();
}

/// How long a node waits for its last commits when it stops.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The URL of a socket, or the place of a Unix socket.
fn url(scheme: &str, address: &str, base_path: &BasePath) -> String {
    match address.starts_with("unix:") {
        true => address.into(),
        false => format!("{scheme}://{address}{base_path}"),
    }
}

/// Serves metrics on their own listener until the program ends.
fn serve_metrics(
    options: &HubOptions,
    passed: &mut PassedSockets,
    hub: Hub,
    access: &Options,
) -> Result<Option<Places>, Failure> {
    let Some(address) = &options.metrics_listen else { return Ok(None) };
    let Sockets { listeners, places } =
        listen::open_for_metrics(address, options.unix_mode, passed)?;
    let mut serving = ServerOptions::default();
    serving.header_timeout = options.header_timeout;
    serving.header_bytes = settings::bytes(options.header_bytes);
    let router = metrics_router(access, hub);
    tokio::spawn(carafe_http::serve_beside(listeners, router, serving)?);
    Ok(Some(places))
}

/// Opens the log of a hub that is no node of a cluster, and starts the hub.
fn open_log(options: &HubOptions, closing: &Closing) -> Result<Opened, Failure> {
    let limits = settings::hub_limits(options);
    match &options.log {
        LogPlace::Memory => {
            let log = MemoryLog::new(settings::memory_limits(options));
            let (hub, failure) = (Hub::with_limits(log, limits), Box::pin(pending()));
            Ok(Opened { hub, node: None, failure })
        }
        LogPlace::Disk(path) => {
            let log =
                DiskLog::open(path, settings::disk_options(options)).map_err(Failure::failed)?;
            log.compact(options.compact.clone());
            let failure = Box::pin(log.failure());
            // The log closes when the last handle of the hub is dropped, which may be on another
            // thread. The program must not exit before the clean mark is written.
            closing.wait_for(log.closed());
            tokio::spawn(log.answering());
            Ok(Opened { hub: Hub::with_limits(log, limits), node: None, failure })
        }
    }
}

/// Waits for a signal to stop, or for what ends the hub without one.
async fn first_of(
    stop: impl Future<Output = ()>,
    ending: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    tokio::select! {
        () = stop => Ok(()),
        ended = ending => ended,
    }
}
