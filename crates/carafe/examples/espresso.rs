//! The companion of the tutorial: a coffee bar in the style of Express, on plain axum.
//!
//! `cargo run --example espresso`, then open <http://127.0.0.1:3000>. `PORT` chooses another port.
//!
//! ```sh
//! curl localhost:3000/coffees --json '{ "name": "lungo", "shots": 2 }'
//! curl localhost:3000/bar/pour/lungo -X POST -H 'barista: Mia'
//! ```
//!
//! | Express                     | here                                       |
//! |-----------------------------|--------------------------------------------|
//! | `app.get(path, handler)`    | `.route(path, get(handler))`               |
//! | `app.use(middleware)`       | `.layer(middleware)`                       |
//! | `app.use(path, router)`     | `.nest(path, router)`                      |
//! | `request.barista = barista` | `request.extensions_mut().insert(barista)` |
//! | `next(error)`               | `Err(problem)`                             |

use std::borrow::Cow;
use std::time::{Duration, Instant};

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{AppendHeaders, Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use carafe::EventStream;
use carafe::http::Problem;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tower::ServiceBuilder;
use tower_http::cors::CorsLayer;
use tower_http::trace::TraceLayer;

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Espresso</title>
<p>Today: <output></output></p>
<script>
  const menu = document.querySelector('output');
  new EventSource('/events').onmessage = (message) => { menu.value = message.data; };
</script>
</html>
"#;

const MOST_COFFEES: usize = 12;
const TIME_PER_SHOT: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_millis(300);

/// Today's menu: handlers read and change it, and `/events` watches it.
type Menu = watch::Sender<Vec<Coffee>>;

#[derive(Clone, Serialize, Deserialize)]
struct Coffee {
    name: String,
    shots: u8,
}

/// The barista who handles the request.
#[derive(Clone)]
struct Barista(String);

#[tokio::main]
async fn main() -> std::io::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter("tower_http=debug")
        .with_writer(std::io::stderr)
        .init();
    let port = std::env::var("PORT").unwrap_or("3000".into());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app()).await
}

pub(crate) fn app() -> Router {
    let coffees = [("espresso", 1), ("doppio", 2), ("bucket", 200)];
    let menu = coffees.map(|(name, shots)| Coffee { name: name.into(), shots }).to_vec();
    // The first is the outermost, as in Express. In a row of `.layer`s on the router, the last
    // would be.
    let middleware = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(CorsLayer::permissive())
        .layer(from_fn_with_state("house", timed));
    Router::new()
        .route("/", get(Html(PAGE)))
        .route("/coffees", get(list).post(add))
        .route("/events", get(watch_menu))
        .nest("/bar", bar())
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware)
        .with_state(Menu::new(menu))
}

fn bar() -> Router<Menu> {
    let middleware =
        ServiceBuilder::new().layer(from_fn(baristas_only)).layer(from_fn_with_state("bar", timed));
    // A `route_layer` runs only for routes that exist: an unknown path is a 404 for everyone.
    Router::new().route("/pour/{name}", post(pour)).route_layer(middleware)
}

/// Adds the time that the inner layers took as `Server-Timing`, which browsers show.
async fn timed(
    State(name): State<&'static str>,
    request: Request,
    next: Next,
) -> impl IntoResponse {
    let start = Instant::now();
    let response = next.run(request).await;
    let timing = format!("{name};dur={}", start.elapsed().as_millis());
    (AppendHeaders([("server-timing", timing)]), response)
}

async fn baristas_only(mut request: Request, next: Next) -> Result<Response, Problem> {
    let Some(name) = request.headers().get("barista").and_then(|name| name.to_str().ok()) else {
        return Err(refuse(StatusCode::FORBIDDEN, "name yourself in the header `barista`"));
    };
    let barista = Barista(name.into());
    request.extensions_mut().insert(barista);
    Ok(next.run(request).await)
}

async fn list(State(menu): State<Menu>) -> Json<Vec<Coffee>> {
    Json(menu.borrow().clone())
}

async fn add(
    State(menu): State<Menu>,
    coffee: Result<Json<Coffee>, JsonRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Json(coffee) =
        coffee.map_err(|rejection| refuse(rejection.status(), rejection.body_text()))?;
    let added = menu.send_if_modified(|menu| {
        let fits = menu.len() < MOST_COFFEES && menu.iter().all(|other| other.name != coffee.name);
        if fits {
            menu.push(coffee.clone());
        }
        fits
    });
    let detail = "it is already on the menu, or the menu is full";
    added
        .then_some((StatusCode::CREATED, Json(coffee)))
        .ok_or_else(|| refuse(StatusCode::CONFLICT, detail))
}

async fn watch_menu(State(menu): State<Menu>) -> EventStream {
    let mut menu = menu.subscribe();
    menu.mark_changed();
    EventStream::new(async move |events| {
        while menu.changed().await.is_ok() {
            let names: Vec<_> =
                menu.borrow_and_update().iter().map(|coffee| coffee.name.clone()).collect();
            events.data(names.join(", ")).await?;
        }
        Ok(())
    })
}

async fn pour(
    State(menu): State<Menu>,
    Extension(Barista(barista)): Extension<Barista>,
    Path(name): Path<String>,
) -> Result<String, Problem> {
    let coffee = menu.borrow().iter().find(|coffee| coffee.name == name).cloned();
    let refusal =
        || refuse(StatusCode::NOT_FOUND, format!("there is no {name} today: see /coffees"));
    brew(coffee.ok_or_else(refusal)?.shots).await?;
    Ok(format!("{barista} made your {name}\n"))
}

async fn brew(shots: u8) -> Result<(), Problem> {
    timeout(PATIENCE, sleep(TIME_PER_SHOT * shots.into())).await.map_err(|_| {
        let detail = format!("{shots} shots take too long: order something smaller");
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "urn:espresso:problem:too-slow",
            "Too slow",
            detail,
        )
    })
}

async fn not_found(uri: Uri) -> Problem {
    refuse(StatusCode::NOT_FOUND, format!("there is nothing at {}: see /coffees", uri.path()))
}

async fn wrong_method(method: Method) -> Problem {
    refuse(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{method} is not allowed here: see the header `allow`"),
    )
}

/// A problem whose status is all that a program needs to know (RFC 9457, 4.2.1).
fn refuse(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Problem {
    Problem::new(status, "about:blank", status.canonical_reason().unwrap_or("Refused"), detail)
}
