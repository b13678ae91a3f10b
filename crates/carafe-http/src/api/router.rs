//! The routes of the hub's own API. Adapters of other protocols add theirs before the layer that
//! all share.

use std::future::ready;
use std::sync::Arc;

use axum::Router;
use axum::extract::RawQuery;
use axum::middleware;
use axum::response::Redirect;
use axum::routing::{any, any_service, get};

use crate::answer::problem::Problem;
use crate::api::answers::{self, Answers};
use crate::api::app::App;
use crate::api::events::Events;
use crate::api::health::{self, read_only};
use crate::api::options::Page;
use crate::api::page;
use crate::api::revocations;
use crate::api::subscribers::subscribers;
use crate::policy::base_path::BasePath;

/// The endpoints of this API and those of the adapters, within the layer around all answers.
pub(crate) fn with_adapters(app: App, adapters: Router) -> Router {
    let answers = Arc::new(Answers::new(&app.options));
    let (health, pages) =
        (health::routes(app.hub.clone(), app.options.readiness.clone()), pages(&app));
    let base = app.options.base_path.clone();
    let layer = middleware::from_fn_with_state(Arc::clone(&answers), answers::answer);
    let revocations =
        Router::new().route("/revocations", any(revocations::revocations)).with_state(app.clone());
    let adapters = adapters.merge(revocations);
    let others = health.clone().merge(pages).merge(adapters).fallback(not_found);
    let hub = events(&Events::new(app, answers)).merge(others.layer(layer.clone()));
    match base.as_str() {
        "" => hub,
        _ => beside(&base, health).layer(layer).nest(&format!("{base}/"), hub),
    }
}

/// What is outside of the base path: health checks, for probes that know no base path, and the way
/// to the page. Its links are relative, so its path ends with a slash.
fn beside(base: &BasePath, health: Router) -> Router {
    let page = format!("{base}/");
    let redirect = move |RawQuery(query): RawQuery| {
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        ready(Redirect::permanent(&format!("{page}{query}")))
    };
    health.route(base.as_str(), read_only(get(redirect))).fallback(not_found)
}

async fn not_found() -> Problem {
    Problem::not_found()
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

fn pages(app: &App) -> Router {
    match app.options.page {
        Page::None => Router::new(),
        Page::Plain => Router::new().route("/", read_only(get(page::plain))),
        Page::Console => {
            let subscribers = read_only(get(subscribers)).with_state(app.clone());
            let router = Router::new().route("/console/subscribers", subscribers);
            page::CONSOLE.iter().fold(router, |router, file| {
                router.route(file.path, read_only(get(async || file.response())))
            })
        }
    }
}
