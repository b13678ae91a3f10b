//! Tells the service manager the state of the hub: sd_notify(3), for units with `Type=notify`.
//!
//! Without a service manager, `NOTIFY_SOCKET` is not set and nothing is sent.

use std::env;
use std::time::Duration;

use carafe_hub::Hub;
use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

/// How often the status is updated.
const STATUS: Duration = Duration::from_secs(5);

/// The hub listens, and has read its log. From now on the manager learns the status of the hub, and
/// the watchdog that the runtime runs its tasks.
pub(crate) fn is_ready(hub: Hub) {
    notify(&[NotifyState::Ready, NotifyState::Status(&status(&hub))]);
    if env::var_os("NOTIFY_SOCKET").is_some() {
        tokio::spawn(keep_informed(hub));
    }
}

/// The hub reads its configuration again. `Type=notify-reload` needs the time, too.
pub(crate) fn reloads() {
    match NotifyState::monotonic_usec_now() {
        Ok(time) => notify(&[NotifyState::Reloading, time]),
        Err(error) => warn!(%error, "cannot tell the service manager that the hub reloads"),
    }
}

/// Reloading has ended.
pub(crate) fn has_reloaded() {
    notify(&[NotifyState::Ready]);
}

/// The hub retires: clients are still served until it drains.
pub(crate) fn retires() {
    notify(&[NotifyState::Status("Waiting for load balancers to send clients elsewhere")]);
}

/// The hub drains, and then starts again in the same process.
pub(crate) fn restarts() {
    reloads();
    notify(&[NotifyState::Status("Ending all streams, to start again")]);
}

/// The hub drains, and then the program ends.
pub(crate) fn stops() {
    notify(&[NotifyState::Stopping, NotifyState::Status("Ending all streams")]);
}

/// Runs until the program ends: the watchdog expects a sign of life while the hub drains, too.
async fn keep_informed(hub: Hub) {
    let watchdog = sd_notify::watchdog_enabled().filter(|time| !time.is_zero());
    // Twice per period, as sd_watchdog_enabled(3) recommends.
    let mut updates = interval(watchdog.map_or(STATUS, |time| (time / 2).min(STATUS)));
    updates.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        updates.tick().await;
        let alive = watchdog.map(|_| NotifyState::Watchdog);
        if hub.is_ready() {
            let status = status(&hub);
            let status = Some(NotifyState::Status(&status));
            notify(&alive.into_iter().chain(status).collect::<Vec<_>>());
        } else {
            // What the hub waits for stays the status.
            notify(&alive.into_iter().collect::<Vec<_>>());
        }
    }
}

fn status(hub: &Hub) -> String {
    let counts = hub.counts();
    format!("{} open streams, {} events published", counts.subscriptions, counts.published)
}

fn notify(states: &[NotifyState<'_>]) {
    if states.is_empty() {
        return;
    }
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "cannot tell the service manager the state of the hub");
    }
}
