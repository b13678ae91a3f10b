//! The routes of the hub's own API. Adapters of other protocols add theirs before the layer that
//! all share.

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{any_service, get};

use crate::answer::problem::Problem;
use crate::api::answers::{self, Answers};
use crate::api::app::App;
use crate::api::events::Events;
use crate::api::health::{self, read_only};
use crate::api::options::Page;
use crate::api::page;

/// The endpoints of this API and those of the adapters, within the layer around all answers.
pub(crate) fn with_adapters(app: App, adapters: Router) -> Router {
    let answers = Arc::new(Answers::new(&app.options));
    let (health, pages) = (health::routes(app.hub.clone()), pages(app.options.page));
    let others = health.merge(pages).merge(adapters).fallback(async || Problem::not_found());
    let layer = middleware::from_fn_with_state(Arc::clone(&answers), answers::answer);
    events(&Events::new(app, answers)).merge(others.layer(layer))
}

fn events(events: &Events) -> Router {
    // Not `route_service`, which would leave the body in responses to `HEAD`.
    let events = || any_service(events.clone());
    Router::new()
        .route("/events", events())
        // An empty topic reaches the endpoint, whose answer says what is missing.
        .route("/events/", events())
        .route("/events/{*topic}", events())
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
