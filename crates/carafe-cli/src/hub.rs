//! `carafe dev` and `carafe serve`: start a hub, serve it until SIGTERM or SIGINT, and drain it.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use carafe_http::{BasePath, Options, Page, Rights, Served, ServerOptions, Tls, metrics_router};
use carafe_hub::Hub;
use carafe_log::{DiskLog, MemoryLog};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::check;
use crate::cli::{HubOptions, LogPlace, ServeOptions, Settings};
use crate::closing::Closing;
use crate::demo::{self, Demo};
use crate::descriptors::Descriptors;
use crate::failure::Failure;
use crate::keys;
use crate::listen::{self, Places, Sockets};
use crate::logging;
use crate::passed_sockets::PassedSockets;
use crate::reload::Reloads;
use crate::reloadable::Adjustable;
use crate::returned;
use crate::service_manager;
use crate::settings;
use crate::startup::Startup;

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
    run(&options, access, serving, (passed, &closing), Some(Demo::start())).await
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
    let adjustable = Adjustable::new(descriptors, &options.hub, &options.allow_origin);
    adjustable.reload_from(options.hub.config.as_ref(), in_use, &mut reloads);
    adjustable.share_with(&mut access);
    settings::apply(&options.hub, &mut access)?;
    let mut serving = settings::server_options(&options.hub, descriptors, &access);
    serving.hsts = options.hsts;
    serving.tls = tls(options.tls_cert.clone(), options.tls_key.clone(), &mut reloads)?;
    if options.check {
        return check::report(&options);
    }
    // After all have been added: SIGHUP is handled from here on, and would end the process before.
    reloads.start()?;
    tokio::spawn(keys::refresh_sets(keys));
    run(&options.hub, access, serving, (passed, &closing), None).await
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

async fn run(
    options: &HubOptions,
    access: Options,
    serving: ServerOptions,
    (mut passed, closing): (PassedSockets, &Closing),
    demo: Option<Demo>,
) -> Result<(), Failure> {
    // First, so that a signal during the rest of the start drains the hub instead of killing it.
    let signals = StopSignals::new()?;
    // Before the log is opened, which may take long: a port in use is reported at once.
    let Sockets { listeners, places } = listen::open(options, &mut passed)?;
    let (hub, failure) = hub(options, closing)?;
    let metrics = serve_metrics(options, &mut passed, hub.clone(), &access)?;
    tokio::spawn(returned::give_back(access.body_budget.clone()));
    let startup = Startup::of(options, &access);
    let revocations = access.revocations.clone();
    let mut app = carafe_http::router(hub.clone(), access);
    // Before the first request, and an error ends the program: the hub must not accept tokens that
    // it cannot check.
    revocations.load().await.map_err(Failure::failed)?;
    if let Some((hub, access)) = demo.as_ref().map(Demo::endpoint) {
        let path = format!("{}{}", options.base_path, demo::PATH);
        app = app.nest_service(&path, carafe_http::router(hub, access));
    }
    let scheme = if serving.tls.is_some() { "https" } else { "http" };
    let urls = places.addresses.iter().map(|address| url(scheme, address, &options.base_path));
    startup.announce(&urls.collect::<Vec<_>>());
    for address in metrics.iter().flat_map(|places| &places.addresses) {
        info!("metrics on {}/metrics", url("http", address, &BasePath::default()));
    }
    service_manager::is_ready(hub.clone());
    let stop = first_of(signals.stop(hub.clone(), options.shutdown_delay), failure);
    let (sender, stopped) = oneshot::channel();
    let Served { cut, .. } = carafe_http::serve(listeners, app, &hub, serving, async {
        let reason = stop.await;
        info!("draining");
        service_manager::stops();
        demo.iter().for_each(Demo::end);
        // The receiver is read after serving; an error means that serving has failed.
        let _ = sender.send(reason);
    })
    .await?;
    if cut > 0 {
        warn!(cut, "the drain timeout is over; disconnected the remaining streams");
    }
    stopped.await.unwrap_or(Ok(()))
}

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
            log.compact(options.compact.clone());
            let failure = log.failure();
            // The log closes when the last handle of the hub is dropped, which may be on another
            // thread. The program must not exit before the clean mark is written.
            closing.wait_for(log.closed());
            tokio::spawn(log.answering());
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

/// SIGTERM, from service managers, and SIGINT, from the keyboard.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn new() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Completes when the hub shall drain: with a signal, or as much later as load balancers need
    /// to learn that the hub retires. A second signal ends the wait.
    async fn stop(mut self, hub: Hub, delay: Duration) {
        self.next().await;
        if delay.is_zero() {
            return;
        }
        hub.retire();
        service_manager::retires();
        info!(?delay, "/readyz returns 503; serving until the shutdown delay is over");
        tokio::select! {
            () = sleep(delay) => {}
            () = self.next() => {}
        }
    }
}
