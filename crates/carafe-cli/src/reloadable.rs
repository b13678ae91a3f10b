//! Limits and origins that can be changed while the hub runs.

use std::path::PathBuf;

use carafe_http::{Options, Origin, Origins, PublishRate, Rate, SubscriberLimits, Subscribers};

use crate::cli::{Cli, Command, HubOptions, ServeOptions};
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
    pub(crate) fn reload_from(&self, file: Option<&PathBuf>, reloads: &mut Reloads) {
        let Some(file) = file else { return };
        let adjustable = self.clone();
        let reload = move || adjustable.reload().map_err(|failure| failure.to_string());
        reloads.add("the limits and origins", [file], reload);
    }

    fn reload(&self) -> Result<(), Failure> {
        if let Command::Serve(options) = Cli::from_process()?.command {
            let ServeOptions { hub, allow_origin, .. } = *options;
            self.set(&hub, &allow_origin);
        }
        Ok(())
    }
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
