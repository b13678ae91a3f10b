//! `carafe dev` and `carafe serve`: start a hub, serve it until SIGTERM or SIGINT, and drain it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use carafe_http::{Metrics, Options, Page, Rights, Served, ServerOptions, Tls, metrics_router};
use carafe_hub::Hub;
use carafe_log::{DiskLog, MemoryLog, Publication};
use carafe_protocol::Topic;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::cli::{HubOptions, LogPlace, ServeOptions};
use crate::closing::Closing;
use crate::descriptors::Descriptors;
use crate::failure::Failure;
use crate::keys;
use crate::listen;
use crate::logging;
use crate::reload::Reloads;
use crate::reloadable::Adjustable;
use crate::returned;
use crate::settings;

/// Runs a hub for development, open to programs and pages of this machine.
pub(crate) async fn dev(options: HubOptions, closing: Closing) -> Result<(), Failure> {
    logging::start(options.log_format);
    let mut access = Options::default();
    access.anonymous = Rights::all();
    access.page = Page::Console;
    access.loopback_only = true;
    let descriptors = Descriptors::raise(settings::log_files(&options));
    Adjustable::new(descriptors, &options, &[]).share_with(&mut access);
    settings::apply(&options, &mut access)?;
    let serving = settings::server_options(&options, descriptors, &access);
    run(&options, access, serving, &closing, |hub| {
        tokio::spawn(tick(hub));
    })
    .await
}

/// Runs a hub.
pub(crate) async fn serve(options: ServeOptions, closing: Closing) -> Result<(), Failure> {
    // Before the keys, which may cause warnings about their files.
    logging::start(options.hub.log_format);
    let mut reloads = Reloads::default();
    let keys = keys::keys(options.keys, &mut reloads)?;
    if options.anonymous.is_empty() && keys.is_empty() {
        return Err(Failure::usage(
            "nobody could use this hub: give it keys with --secret-file or --keys, or allow \
             clients without a token something, for example with --anonymous subscribe,publish",
        ));
    }
    let mut access = Options::default();
    access.anonymous = settings::anonymous(&options.anonymous);
    access.keys = keys.clone();
    access.credentials = settings::credentials(options.credentials);
    access.proxies = settings::proxies(options.trusted_proxies, options.proxy_header);
    access.page = Page::Plain;
    let descriptors = Descriptors::raise(settings::log_files(&options.hub));
    let adjustable = Adjustable::new(descriptors, &options.hub, &options.allow_origin);
    adjustable.reload_from(options.hub.config.as_ref(), &mut reloads);
    adjustable.share_with(&mut access);
    settings::apply(&options.hub, &mut access)?;
    let mut serving = settings::server_options(&options.hub, descriptors, &access);
    serving.hsts = options.hsts;
    serving.tls = tls(options.tls_cert, options.tls_key, &mut reloads)?;
    // After all have been added: SIGHUP is handled from here on, and would end the process before.
    reloads.start()?;
    run(&options.hub, access, serving, &closing, |_| {
        tokio::spawn(keys::refresh_sets(keys));
    })
    .await
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
    // First, so that a signal during the rest of the start drains the hub instead of killing it.
    let stop = stop_signal()?;
    // Before the log is opened, which may take long: a port in use is reported at once.
    let listener = listen::listen(options.listen)?;
    let (hub, failure) = hub(options, closing)?;
    let metrics = serve_metrics(options, hub.clone(), &access.metrics).await?;
    tokio::spawn(returned::give_back(access.body_budget.clone()));
    let app = carafe_http::router(hub.clone(), access);
    let scheme = if serving.tls.is_some() { "https" } else { "http" };
    logging::announce_address(options.log_format, scheme, listener.local_addr()?);
    metrics.into_iter().for_each(|address| info!("metrics on http://{address}/metrics"));
    started(hub.clone());
    let stop = first_of(stop, failure);
    let (sender, stopped) = oneshot::channel();
    let Served { cut, .. } = carafe_http::serve(listener, app, &hub, serving, async {
        // The receiver is read after serving; an error means that serving has failed.
        let _ = sender.send(stop.await);
    })
    .await?;
    if cut > 0 {
        warn!(cut, "the drain timeout is over; disconnected the remaining streams");
    }
    stopped.await.unwrap_or(Ok(()))
}

/// Serves metrics on their own listener until the program ends, and returns its address.
async fn serve_metrics(
    options: &HubOptions,
    hub: Hub,
    metrics: &Metrics,
) -> Result<Option<SocketAddr>, Failure> {
    let Some(address) = options.metrics_listen else { return Ok(None) };
    let listener = listen::listen(address)?;
    let address = listener.local_addr()?;
    let mut serving = ServerOptions::default();
    serving.header_timeout = options.header_timeout;
    serving.header_bytes = settings::bytes(options.header_bytes);
    tokio::spawn(carafe_http::serve_beside(listener, metrics_router(metrics, hub), serving)?);
    Ok(Some(address))
}

/// Completes with the reason when the log on disk fails.
type LogFailure = Pin<Box<dyn Future<Output = String> + Send>>;

/// Opens the log and starts the hub.
fn hub(options: &HubOptions, closing: &Closing) -> Result<(Hub, LogFailure), Failure> {
    let limits = settings::hub_limits(options);
    match &options.log {
        LogPlace::Memory => {
            let log = MemoryLog::new(settings::memory_limits(options));
            Ok((Hub::with_limits(log, limits), Box::pin(std::future::pending())))
        }
        LogPlace::Disk(path) => {
            let log =
                DiskLog::open(path, settings::disk_options(options)).map_err(Failure::failed)?;
            let failure = log.failure();
            // The log closes when the last handle of the hub is dropped, which may be on another
            // thread. The program must not exit before the clean mark is written.
            closing.wait_for(log.closed());
            Ok((Hub::with_limits(log, limits), Box::pin(failure)))
        }
    }
}

/// Waits for a signal to stop, or for a failure of the log, which is then a failure of the hub.
async fn first_of(stop: impl Future<Output = ()>, failure: LogFailure) -> Result<(), Failure> {
    tokio::select! {
        () = stop => Ok(()),
        reason = failure => Err(Failure::failed(format!("the log failed: {reason}"))),
    }
}

/// Completes on SIGTERM, from service managers, or SIGINT, from the keyboard.
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

/// Publishes a count each second to the topic `count`, for the console, until the hub drains.
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
