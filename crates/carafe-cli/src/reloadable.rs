//! Limits and origins that can be changed while the hub runs.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use carafe_http::{Options, Origin, Origins, PublishRate, Rate, SubscriberLimits, Subscribers};

use tracing::warn;

use crate::cli::{Cli, Command, HubOptions, Settings};
use crate::descriptors::Descriptors;
use crate::failure::Failure;
use crate::reload::Reloads;

/// Shared settings that the router reads for each request.
#[derive(Clone)]
pub(crate) struct Adjustable {
    descriptors: Descriptors,
    subscribers: Subscribers,
    publish_rate: PublishRate,
    origins: Origins,
}

impl Adjustable {
    pub(crate) fn new(descriptors: Descriptors, options: &HubOptions, origins: &[Origin]) -> Self {
        let adjustable = Self {
            descriptors,
            subscribers: Subscribers::default(),
            publish_rate: PublishRate::default(),
            origins: Origins::default(),
        };
        adjustable.set(options, origins);
        adjustable
    }

    /// Shares these settings with a router.
    pub(crate) fn share_with(&self, options: &mut Options) {
        options.subscribers = self.subscribers.clone();
        options.publish_rate = self.publish_rate.clone();
        options.origins = self.origins.clone();
    }

    fn set(&self, options: &HubOptions, origins: &[Origin]) {
        let mut limits = SubscriberLimits::default();
        limits.total = options.subscribers.unwrap_or(self.descriptors.for_subscribers());
        limits.per_address = options.subscribers_per_address;
        limits.connections_per_address = options.connections_per_address();
        self.subscribers.set(limits);
        self.publish_rate.set(options.rate());
        self.origins.set(origins);
    }

    /// Reloads the settings from the file when it changes, and on SIGHUP.
    pub(crate) fn reload_from(
        &self,
        file: Option<&PathBuf>,
        in_use: Settings,
        reloads: &mut Reloads,
    ) {
        let Some(file) = file else { return };
        let (adjustable, in_use) = (self.clone(), Mutex::new(in_use));
        let reload = move || {
            let mut in_use = in_use.lock().unwrap_or_else(PoisonError::into_inner);
            adjustable.reload(&mut in_use).map(Some).map_err(|failure| failure.to_string())
        };
        reloads.add("the limits and origins", [file], reload);
    }

    /// Returns what has changed, and warns about changes that need a restart.
    fn reload(&self, in_use: &mut Settings) -> Result<String, Failure> {
        let cli = Cli::from_process()?;
        if let Command::Serve(options) = &cli.command {
            self.set(&options.hub, &options.allow_origin);
        }
        let (now, late) = changes(in_use, &cli.settings);
        if !late.is_empty() {
            warn!("restart the hub to use: {}", late.join("; "));
        }
        in_use.adopt(&cli.settings, RELOADED);
        Ok(if now.is_empty() { "nothing has changed".into() } else { now.join("; ") })
    }
}

/// The settings that can change while the hub runs.
const RELOADED: &[&str] = &[
    "subscribers",
    "subscribers-per-address",
    "connections-per-address",
    "publish-rate",
    "publish-burst",
    "allow-origin",
];

/// The changes that apply now, and those that need a restart.
fn changes(in_use: &Settings, new: &Settings) -> (Vec<String>, Vec<String>) {
    let (now, late): (Vec<_>, Vec<_>) =
        new.changed(in_use).partition(|(setting, _)| RELOADED.contains(&&*setting.key));
    let now =
        now.iter().map(|(new, old)| format!("{} is {}, was {}", new.key, new.words(), old.words()));
    let late =
        late.iter().map(|(new, old)| format!("{} {} (is {})", new.key, new.words(), old.words()));
    (now.collect(), late.collect())
}

/// The least default of `--connections-per-address`, which leaves connections to publishers and
/// pages when the limit on streams is small.
const MIN_CONNECTIONS: usize = 100;

impl HubOptions {
    /// Each stream over HTTP/1.1 takes a connection; as many again are left for other requests.
    fn connections_per_address(&self) -> usize {
        let twice = self.subscribers_per_address.saturating_mul(2).max(MIN_CONNECTIONS);
        self.connections_per_address.unwrap_or(twice)
    }

    fn rate(&self) -> Option<Rate> {
        let rate = self.publish_rate?;
        Some(self.publish_burst.map_or(rate, |burst| rate.with_burst(burst)))
    }
}
