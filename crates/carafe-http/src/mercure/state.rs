//! What every handler of the adapter has at hand.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::api::app::App;
use crate::api::options::Mercure;
use crate::mercure::paths;
use crate::mercure::presence::Subscriptions;
use crate::observe::endpoint;

/// The hub, and how Mercure is spoken. Clones are the same.
#[derive(Clone)]
pub(crate) struct Adapter {
    pub(crate) app: App,
    /// The URL of the hub, if it is known: 1.0 is spoken then.
    pub(crate) resource: Option<Arc<Url>>,
    /// Where what this resource asks of tokens can be read.
    pub(crate) metadata: Option<Arc<Url>>,
    /// The open subscriptions, if they are to be told.
    pub(crate) subscriptions: Option<Arc<Subscriptions>>,
    pub(crate) max_age: Option<Duration>,
}

impl Adapter {
    pub(crate) fn new(app: &App, options: &Mercure) -> Self {
        let below =
            |path| options.public_url.as_ref().and_then(|url| url.join(path).ok()).map(Arc::new);
        Self {
            app: app.clone(),
            resource: below(endpoint::MERCURE),
            metadata: below(paths::METADATA),
            subscriptions: options.subscriptions.then(Arc::default),
            max_age: options.max_age,
        }
    }
}
