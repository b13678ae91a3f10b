//! A JWK Set that an issuer publishes under a URL.
//!
//! It is fetched on the task that needs it: a refresher, or a request with an unknown key. Other
//! tasks wait for that attempt at an async lock. Readers never wait: they load the last set.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::header::{ACCEPT, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::aws_lc_rs;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use crate::answer::host::is_loopback;
use crate::auth::jwk_set::JwkSet;
use crate::auth::key_rules::BadKey;

/// The shortest time between two attempts, however many tokens name unknown keys.
const PAUSE: Duration = Duration::from_secs(30);

/// The time limit and the size limit of a fetch.
const TIME: Duration = Duration::from_secs(10);
const BYTES: usize = 1 << 20;

/// The set as it was last fetched. Clones share it.
#[derive(Clone)]
pub(crate) struct RemoteSet(Arc<Remote>);

struct Remote {
    url: Uri,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    refresh: Duration,
    set: ArcSwapOption<JwkSet>,
    fetches: Mutex<Fetches>,
}

#[derive(Default)]
struct Fetches {
    tried: Option<Instant>,
    succeeded: Option<Instant>,
}

impl RemoteSet {
    /// A set that was not fetched yet.
    pub(crate) fn new(url: &str, refresh: Duration) -> Result<Self, BadKey> {
        let url: Uri = url.parse().map_err(|_| BadKey::BadUrl)?;
        let is_safe = url.scheme_str() == Some("https") || url.host().is_some_and(is_loopback);
        // A user name would be sent as a credential, and logged with the URL.
        let names_user = url.authority().is_none_or(|authority| authority.as_str().contains('@'));
        if !is_safe || names_user || !matches!(url.scheme_str(), Some("http" | "https")) {
            return Err(BadKey::BadUrl);
        }
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(aws_lc_rs::default_provider())
            .map_err(|_| BadKey::NoRoots)?
            .https_or_http()
            .enable_http1()
            .build();
        let client =
            // No idle connection is kept: fetches are minutes apart, and each would hold a
            // descriptor.
            Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        let (set, fetches) = (ArcSwapOption::empty(), Mutex::default());
        Ok(Self(Arc::new(Remote { url, client, refresh, set, fetches })))
    }

    /// Whether both are the same URL with the same interval.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.0.url == other.0.url && self.0.refresh == other.0.refresh
    }

    /// The last set; `None` before the first fetch.
    pub(crate) fn now(&self) -> Option<Arc<JwkSet>> {
        self.0.set.load_full()
    }

    /// Fetches the set if it is too old.
    pub(crate) async fn refresh(&self) {
        // Held during the fetch, so that there is one at a time. It is an async lock: waiting
        // blocks no thread.
        let fetches = self.0.fetches.lock().await;
        if fetches.succeeded.is_none_or(|time| time.elapsed() >= self.0.refresh) {
            self.fetch(fetches).await;
        }
    }

    /// Fetches the set because a token names a key that is not in it.
    pub(crate) async fn fetch_for_unknown_key(&self) {
        // A task that waits for the lock uses what the attempt before it has fetched.
        self.fetch(self.0.fetches.lock().await).await;
    }

    /// Replaces the set, unless fetching fails or was tried just now.
    async fn fetch(&self, mut fetches: tokio::sync::MutexGuard<'_, Fetches>) {
        if fetches.tried.is_some_and(|time| time.elapsed() < PAUSE.min(self.0.refresh)) {
            return;
        }
        // Before the attempt: one that fails, or whose request is dropped, counts as well.
        fetches.tried = Some(Instant::now());
        let url = &self.0.url;
        match timeout(TIME, self.0.get()).await.unwrap_or_else(|_| Err("it took too long".into())) {
            Ok(set) => {
                debug!(%url, "fetched the JWK Set");
                fetches.succeeded = Some(Instant::now());
                self.0.set.store(Some(Arc::new(set)));
            }
            Err(reason) => {
                warn!(reason, "cannot fetch the JWK Set {url}; what was there before stays in use");
            }
        }
    }
}

impl Remote {
    async fn get(&self) -> Result<JwkSet, String> {
        let request =
            Request::get(&self.url).header(ACCEPT, "application/json").header(USER_AGENT, "carafe");
        let request = request.body(Empty::new()).map_err(|error| error.to_string())?;
        let response = self.client.request(request).await.map_err(|error| cause(&error))?;
        if response.status() != StatusCode::OK {
            return Err(format!("the answer is {}", response.status()));
        }
        // The issuer is trusted to name keys, not to use memory without a limit.
        let body = Limited::new(response.into_body(), BYTES)
            .collect()
            .await
            .map_err(|error| error.to_string())?;
        JwkSet::parse(&body.to_bytes())
            .and_then(JwkSet::without_secrets)
            .map_err(|error| error.to_string())
    }
}

/// The innermost cause, which a person can act on.
fn cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), cause)
}

impl fmt::Debug for RemoteSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteSet")
            .field("url", &self.0.url)
            .field("set", &self.now())
            .finish_non_exhaustive()
    }
}
