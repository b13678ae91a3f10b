//! The state that all handlers of the adapter share.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::api::app::App;
use crate::api::options::Mercure;
use crate::mercure::presence::Subscriptions;
use crate::observe::endpoint;

/// What the path of the metadata of a protected resource begins with; the path of the resource
/// follows (RFC 9728, 3.1).
const METADATA: &str = "/.well-known/oauth-protected-resource";

/// The hub and the options of the adapter. Clones are handles to the same.
#[derive(Clone)]
pub(crate) struct Adapter {
    pub(crate) app: App,
    /// The URL of the hub, which 1.0 requires; `None` turns 1.0 off.
    pub(crate) resource: Option<Arc<Url>>,
    /// The URL of the metadata of this resource.
    pub(crate) metadata: Option<Arc<Url>>,
    /// The path before that of the hub in its public URL.
    pub(crate) prefix: Arc<str>,
    /// The open subscriptions, if they are reported.
    pub(crate) subscriptions: Option<Arc<Subscriptions>>,
    pub(crate) max_age: Option<Duration>,
}

impl Adapter {
    pub(crate) fn new(app: &App, options: &Mercure) -> Self {
        let prefix = options.prefix();
        let at = |path: String| {
            let mut url = options.public_url.clone()?;
            url.set_path(&path);
            Some(Arc::new(url))
        };
        Self {
            app: app.clone(),
            resource: at(format!("{prefix}{}", endpoint::MERCURE)),
            metadata: at(format!("{METADATA}{prefix}{}", endpoint::MERCURE)),
            prefix: prefix.into(),
            subscriptions: options
                .subscriptions
                .then(|| Arc::new(Subscriptions::new(prefix.into()))),
            max_age: options.max_age,
        }
    }

    /// The paths of the metadata, for a proxy that removes the prefix and for one that does not: it
    /// is in the middle of the path.
    pub(crate) fn metadata_paths(&self) -> BTreeSet<String> {
        let prefixes = ["", &*self.prefix];
        prefixes.map(|prefix| format!("{METADATA}{prefix}{}", endpoint::MERCURE)).into()
    }
}
