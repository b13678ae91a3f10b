//! The signals that stop a hub.

use std::io;
use std::time::Duration;

use carafe_hub::Hub;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;
use tracing::info;

use crate::service_manager;

/// SIGTERM, from service managers, and SIGINT, from the keyboard.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    pub(crate) fn new() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Completes when the hub shall drain: with a signal, or as much later as load balancers need
    /// to learn that the hub retires. A second signal ends the wait.
    pub(crate) async fn stop(mut self, hub: Hub, delay: Duration) {
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
