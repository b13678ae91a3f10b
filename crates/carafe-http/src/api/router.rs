//! The hub's endpoints as an axum router.

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{MethodRouter, get};
use carafe_hub::Hub;

use crate::answer::problem::Problem;
use crate::api::answers;
use crate::api::answers::Answers;
use crate::api::health;
use crate::api::options::Options;
use crate::api::options::Page;
use crate::api::page;
use crate::api::publish;
use crate::api::subscribe;
use crate::mercure;

/// What every handler has at hand.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) hub: Hub,
    pub(crate) options: Arc<Options>,
}

/// Mounts a hub in any axum app.
pub trait HubExt {
    /// The hub's endpoints, with the default [`Options`].
    fn router(&self) -> Router;
}

impl HubExt for Hub {
    fn router(&self) -> Router {
        router(self.clone(), Options::default())
    }
}

/// The hub's endpoints: `/events…`, `/healthz`, `/readyz` and, if wanted, a page at `/`.
pub fn router(hub: Hub, options: Options) -> Router {
    let (page, answers) = (options.page, Answers::new(&options));
    let health = health::routes(hub.clone());
    let app = App { hub, options: Arc::new(options) };
    let mercure = app.options.mercure.as_ref().map(|options| mercure::routes(&app, options));
    let events = || {
        get(subscribe::subscribe)
            .head(subscribe::position)
            .post(publish::publish)
            .fallback(async || Problem::wrong_method("GET, HEAD, POST"))
    };
    let router = Router::new()
        .route("/events", events())
        // Without a topic, too: the handler says what is missing.
        .route("/events/", events())
        .route("/events/{*topic}", events())
        .fallback(async || Problem::not_found())
        .with_state(app);
    let router = router.merge(health).merge(pages(page)).merge(mercure.unwrap_or_default());
    router.layer(middleware::from_fn_with_state(Arc::new(answers), answers::answer))
}

fn pages(page: Page) -> Router {
    match page {
        Page::None => Router::new(),
        Page::Plain => Router::new().route("/", read_only(get(page::plain))),
        Page::Console => page::CONSOLE.iter().fold(Router::new(), |router, file| {
            router.route(file.path, read_only(get(async || file.response())))
        }),
    }
}

pub(crate) fn read_only<S: Clone + Send + Sync + 'static>(
    route: MethodRouter<S>,
) -> MethodRouter<S> {
    route.fallback(async || Problem::wrong_method("GET, HEAD"))
}
