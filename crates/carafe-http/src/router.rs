//! Composes the hub's API with the adapters of other protocols. Only this module knows both.

use axum::Router;
use carafe_hub::Hub;

use crate::api::app::App;
use crate::api::options::Options;
use crate::api::router::with_adapters;
#[cfg(feature = "mercure")]
use crate::mercure;

/// Mounts a hub in any axum app.
pub trait HubExt {
    /// The hub's endpoints, with the default [`Options`]: clients without a token may subscribe to
    /// public events, and nobody may publish over HTTP.
    ///
    /// Under `axum::serve` the streams are served by hyper: without shards, write timeouts and
    /// limits per client address. [`serve`](crate::serve) has all three.
    ///
    /// ```
    /// use carafe_http::HubExt;
    /// use carafe_hub::Hub;
    /// use carafe_log::MemoryLog;
    ///
    /// let hub = Hub::new(MemoryLog::default());
    /// let app: axum::Router = axum::Router::new().nest("/live", hub.router());
    /// ```
    fn router(&self) -> Router;
}

impl HubExt for Hub {
    fn router(&self) -> Router {
        router(self.clone(), Options::default())
    }
}

/// The hub's API and health checks; Mercure and a page at `/` if the options enable them.
///
/// Limits per client address need the address: serve the app with
/// `into_make_service_with_connect_info::<SocketAddr>()` or with [`serve`](crate::serve).
///
/// ```
/// use carafe_http::{Options, Rights, router};
/// use carafe_hub::Hub;
/// use carafe_log::MemoryLog;
///
/// let mut options = Options::default();
/// options.anonymous = Rights::all();
/// let hub = Hub::new(MemoryLog::default());
/// let app: axum::Router = axum::Router::new().nest("/live", router(hub, options));
/// ```
pub fn router(hub: Hub, options: Options) -> Router {
    let app = App::new(hub, options);
    let adapters = adapters(&app);
    with_adapters(app, adapters)
}

fn adapters(app: &App) -> Router {
    #[cfg(feature = "mercure")]
    if let Some(options) = &app.options.mercure {
        return mercure::routes(app, options);
    }
    let _ = app;
    Router::new()
}
