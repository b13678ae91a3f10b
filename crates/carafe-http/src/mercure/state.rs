//! The state that all handlers of the adapter share.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::api::app::App;
use crate::api::options::Mercure;
use crate::mercure::presence::Subscriptions;
use crate::observe::endpoint;

/// The path of the metadata of the protected resource (RFC 9728): the well-known prefix before the
/// path of the hub.
pub(crate) const METADATA: &str = "/.well-known/oauth-protected-resource/.well-known/mercure";

/// The hub and the options of the adapter. Clones are handles to the same.
#[derive(Clone)]
pub(crate) struct Adapter {
    pub(crate) app: App,
    /// The URL of the hub, which 1.0 requires; `None` turns 1.0 off.
    pub(crate) resource: Option<Arc<Url>>,
    /// The URL of the metadata of this resource.
    pub(crate) metadata: Option<Arc<Url>>,
    /// The open subscriptions, if they are reported.
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
            metadata: below(METADATA),
            subscriptions: options.subscriptions.then(Arc::default),
            max_age: options.max_age,
        }
    }
}
