//! The tutorial's companion: a coffee bar as one would write it with Express, on axum as it is.
//!
//! `cargo run --example espresso`, then open <http://127.0.0.1:3000>. `PORT` chooses another port.
//!
//! ```sh
//! curl localhost:3000/coffees --json '{ "name": "lungo", "shots": 2 }'
//! curl localhost:3000/bar/pour/lungo -X POST -H 'barista: Mia'
//! ```
//!
//! | Express                  | here                               |
//! |--------------------------|------------------------------------|
//! | `app.get(path, handler)` | `.route(path, get(handler))`       |
//! | `app.use(middleware)`    | `.layer(middleware)`               |
//! | `app.use(path, router)`  | `.nest(path, router)`              |
//! | `request.barista = name` | `request.extensions_mut().insert`  |
//! | `next(error)`            | `Err(problem)`                     |

use std::time::{Duration, Instant};

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{AppendHeaders, Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use carafe::{EventStream, Problem};
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
<h1>Today</h1>
<p id="menu"></p>
<script>
  new EventSource('/events').onmessage = ({ data }) => {
    document.getElementById('menu').textContent = data;
  };
</script>
</html>
"#;

/// How many coffees the board has room for.
const ROOM: usize = 12;
const TIME_PER_SHOT: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_millis(300);

/// The coffees on the board: handlers read and change them, `/events` watches them.
type Menu = watch::Sender<Vec<Coffee>>;

#[derive(Clone, Serialize, Deserialize)]
struct Coffee {
    name: String,
    shots: u8,
}

/// Who stands behind the bar.
#[derive(Clone)]
struct Barista(String);

#[tokio::main]
async fn main() -> std::io::Result<()> {
    tracing_subscriber::fmt().with_env_filter("tower_http=debug").with_writer(std::io::stderr).init();
    let port = std::env::var("PORT").unwrap_or("3000".into());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app()).await
}

pub(crate) fn app() -> Router {
    let coffees = [("espresso", 1), ("doppio", 2), ("bucket", 200)];
    let menu = coffees.map(|(name, shots)| Coffee { name: name.into(), shots }).to_vec();
    // The first is the outermost, as in Express. In a row of `.layer`s on the router, the last would be.
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
    // A `route_layer` runs for routes that exist: nobody has to be a barista to learn that a path does not.
    Router::new().route("/pour/{name}", post(pour)).route_layer(middleware)
}

/// Says in `Server-Timing`, which browsers show, how long all that is further in took.
async fn timed(State(name): State<&'static str>, request: Request, next: Next) -> impl IntoResponse {
    let start = Instant::now();
    let response = next.run(request).await;
    let timing = format!("{name};dur={}", start.elapsed().as_millis());
    (AppendHeaders([("server-timing", timing)]), response)
}

async fn baristas_only(mut request: Request, next: Next) -> Result<Response, Problem> {
    let name = request.headers().get("barista").and_then(|name| name.to_str().ok());
    let barista = name.map(|name| Barista(name.into())).ok_or_else(|| {
        let detail = "say who you are in the header `barista`";
        Problem::new(StatusCode::FORBIDDEN, "urn:espresso:problem:guest", "Baristas only", detail)
    })?;
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
    let Json(coffee) = coffee.map_err(|rejection| {
        let kind = "urn:espresso:problem:not-a-coffee";
        Problem::new(rejection.status(), kind, "Not a coffee", rejection.body_text())
    })?;
    let added = menu.send_if_modified(|menu| {
        let fits = menu.len() < ROOM && menu.iter().all(|other| other.name != coffee.name);
        menu.extend(fits.then(|| coffee.clone()));
        fits
    });
    added.then_some((StatusCode::CREATED, Json(coffee))).ok_or_else(|| {
        let detail = format!("the board has room for {ROOM} coffees, and for each of them once");
        Problem::new(StatusCode::CONFLICT, "urn:espresso:problem:no-room", "No room", detail)
    })
}

async fn watch_menu(State(menu): State<Menu>) -> EventStream {
    let mut menu = menu.subscribe();
    EventStream::new(async move |events| {
        loop {
            let names: Vec<_> = menu.borrow_and_update().iter().map(|coffee| coffee.name.clone()).collect();
            events.data(names.join(", ")).await?;
            if menu.changed().await.is_err() {
                return Ok(());
            }
        }
    })
}

async fn pour(
    State(menu): State<Menu>,
    Extension(Barista(barista)): Extension<Barista>,
    Path(name): Path<String>,
) -> Result<String, Problem> {
    let coffee = menu.borrow().iter().find(|coffee| coffee.name == name).cloned();
    let coffee = coffee.ok_or_else(|| {
        let detail = format!("there is no {name} today: see /coffees");
        Problem::new(StatusCode::NOT_FOUND, "urn:espresso:problem:not-on-menu", "Not on the menu", detail)
    })?;
    brew(&coffee).await?;
    Ok(format!("{barista} made your {name}\n"))
}

async fn brew(coffee: &Coffee) -> Result<(), Problem> {
    let shots = sleep(TIME_PER_SHOT * coffee.shots.into());
    timeout(PATIENCE, shots).await.map_err(|_| {
        let detail = format!("nobody waits for {} shots: order something smaller", coffee.shots);
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "urn:espresso:problem:too-slow", "Too slow", detail)
    })
}

async fn not_found(uri: Uri) -> Problem {
    let detail = format!("there is nothing at {}: see /coffees", uri.path());
    Problem::new(StatusCode::NOT_FOUND, "urn:espresso:problem:not-found", "Not found", detail)
}

async fn wrong_method(method: Method) -> Problem {
    let detail = format!("this path does not take {method}: the header `allow` says what it takes");
    let status = StatusCode::METHOD_NOT_ALLOWED;
    Problem::new(status, "urn:espresso:problem:wrong-method", "Method not allowed", detail)
}
