//! The limits and origins that can be changed while the hub runs.

use std::path::PathBuf;

use carafe_http::{Options, Origin, Origins, PublishRate, Rate, SubscriberLimits, Subscribers};

use crate::cli::{Cli, Command, HubOptions, ServeOptions};
use crate::descriptors::Descriptors;
use crate::failure::Failure;
use crate::reload::Reloads;

/// What the hub looks at anew with each request.
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

    /// Makes the hub look at these.
    pub(crate) fn add_to(&self, mut access: Options) -> Options {
        access.subscribers = self.subscribers.clone();
        access.publish_rate = self.publish_rate.clone();
        access.origins = self.origins.clone();
        access
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

    /// Reads the file again when it changes, and when told to.
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

/// Connections from one address that a small limit on its streams leaves for publishers and pages.
const FEWEST: usize = 100;

impl HubOptions {
    /// Each stream over HTTP/1.1 needs a connection, and as many are left for all else.
    fn connections_per_address(&self) -> usize {
        let twice = self.subscribers_per_address.saturating_mul(2).max(FEWEST);
        self.connections_per_address.unwrap_or(twice)
    }

    fn rate(&self) -> Option<Rate> {
        let rate = self.publish_rate?;
        Some(self.publish_burst.map_or(rate, |burst| rate.with_burst(burst)))
    }
}
