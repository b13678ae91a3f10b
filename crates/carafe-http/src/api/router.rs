//! The routes of the hub's own API. Adapters of other protocols add theirs before the layer that
//! all share.

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::get;

use crate::answer::problem::Problem;
use crate::api::answers::{self, Answers};
use crate::api::app::App;
use crate::api::health::{self, read_only};
use crate::api::options::Page;
use crate::api::{page, publish, subscribe};

/// The endpoints of this API and those of the adapters, within the layer around all answers.
pub(crate) fn with_adapters(app: App, adapters: Router) -> Router {
    let answers = Arc::new(Answers::new(&app.options));
    let (health, pages) = (health::routes(app.hub.clone()), pages(app.options.page));
    let router = events(app).merge(health).merge(pages).merge(adapters);
    router.layer(middleware::from_fn_with_state(answers, answers::answer))
}

fn events(app: App) -> Router {
    let events = || {
        get(subscribe::subscribe)
            .head(subscribe::position)
            .post(publish::publish)
            .fallback(async || Problem::wrong_method("GET, HEAD, POST"))
    };
    Router::new()
        .route("/events", events())
        // An empty topic reaches the handler, whose answer says what is missing.
        .route("/events/", events())
        .route("/events/{*topic}", events())
        .fallback(async || Problem::not_found())
        .with_state(app)
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
