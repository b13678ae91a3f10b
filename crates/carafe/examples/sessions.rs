//! A hub for an app's own users: a session cookie decides what each of them may see.
//!
//! `cargo run --example sessions`, then open <http://127.0.0.1:3000>. `PORT` chooses another port.
//!
//! ```sh
//! curl -i -c jar -X POST localhost:3000/login/7                    # sets a cookie for user 7
//! curl -N -b jar localhost:3000/live/events/users/7/orders         # follows the user's orders
//! curl -b jar -d 'one lungo' localhost:3000/orders                 # in another terminal
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::extract::{Path, Request, State};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{AppendHeaders, Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use carafe::http::Rights;
use carafe::hub::{Access, Grant};
use carafe::protocol::TopicPattern;
use carafe::{Hub, HubExt, MemoryLog, Publication, Topic};
use tokio::net::TcpListener;

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Orders</title>
<button id="login">Log in as user 7</button>
<button id="order">Order</button>
<ul></ul>
<script>
  const shown = document.querySelector('ul');
  document.getElementById('login').onclick = async () => {
    await fetch('/login/7', { method: 'POST' });
    new EventSource('/live/events/users/7/orders').onmessage = ({ data }) => {
      shown.appendChild(document.createElement('li')).textContent = data;
    };
  };
  document.getElementById('order').onclick = () =>
    fetch('/orders', { method: 'POST', body: 'one lungo' });
</script>
</html>
"#;

/// How long a user stays logged in.
const SESSION: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy)]
pub(crate) struct User(u32);

#[derive(Clone, Copy)]
struct Session {
    user: User,
    expires: SystemTime,
}

/// The open sessions, by the value of their cookie.
#[derive(Clone)]
pub(crate) struct Sessions {
    open: Arc<Mutex<HashMap<String, Session>>>,
    lifetime: Duration,
}

impl Sessions {
    pub(crate) fn new(lifetime: Duration) -> Self {
        Self { open: Arc::default(), lifetime }
    }

    fn open(&self, user: User) -> String {
        let name = format!("{:032x}", rand::random::<u128>());
        let now = SystemTime::now();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, session| session.expires > now);
        open.insert(name.clone(), Session { user, expires: now + self.lifetime });
        name
    }

    fn find(&self, headers: &HeaderMap) -> Option<Session> {
        let cookies = headers.get(COOKIE)?.to_str().ok()?;
        let name = cookies.split("; ").find_map(|cookie| cookie.strip_prefix("session="))?;
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(name).copied().filter(|session| session.expires > SystemTime::now())
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").unwrap_or("3000".into());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let app = app(&Hub::new(MemoryLog::default()), Sessions::new(SESSION));
    axum::serve(listener, app).await
}

pub(crate) fn app(hub: &Hub, sessions: Sessions) -> Router {
    let for_users = Router::new()
        .route("/orders", post(order))
        .with_state(hub.clone())
        .nest("/live", hub.router())
        .layer(from_fn_with_state(sessions.clone(), users_only));
    Router::new()
        .route("/", get(Html(PAGE)))
        .route("/login/{user}", post(log_in))
        .with_state(sessions)
        .merge(for_users)
}

/// Decides the rights of a request: a user sees the events below `users/{user}`, private ones, too,
/// until the session ends.
async fn users_only(
    State(sessions): State<Sessions>,
    mut request: Request,
    next: Next,
) -> Result<Response, StatusCode> {
    let session = sessions.find(request.headers()).ok_or(StatusCode::UNAUTHORIZED)?;
    let User(user) = session.user;
    let own = TopicPattern::new(&format!("users/{user}/*"));
    let own = own.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let rights = Rights::none()
        .with_subscribe(Access::to(Grant::to([own.into()])))
        .with_identity(user.to_string())
        .with_expiry(session.expires);
    request.extensions_mut().insert(rights);
    request.extensions_mut().insert(session.user);
    Ok(next.run(request).await)
}

/// A real app checks a password here.
async fn log_in(State(sessions): State<Sessions>, Path(user): Path<u32>) -> impl IntoResponse {
    let name = sessions.open(User(user));
    // Add `Secure` behind HTTPS.
    let cookie = format!("session={name}; Path=/; HttpOnly; SameSite=Lax");
    (StatusCode::NO_CONTENT, AppendHeaders([(SET_COOKIE, cookie)]))
}

async fn order(
    State(hub): State<Hub>,
    Extension(User(user)): Extension<User>,
    order: String,
) -> Result<StatusCode, StatusCode> {
    let topic = Topic::new(&format!("users/{user}/orders"));
    let topic = topic.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let publication = Publication::new(topic, order).with_private(true);
    let stored = hub.publish(publication).await;
    stored.map(|_| StatusCode::CREATED).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
}
