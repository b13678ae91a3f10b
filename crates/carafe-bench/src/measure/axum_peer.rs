//! A peer: axum's own event streams, fed by a broadcast channel of tokio, as its users write it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::routing::get;
use axum::serve::ListenerExt;
use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::net::TcpListener;
use tokio::sync::broadcast::{Receiver, Sender, channel};

use crate::outcome::Outcome;

/// Events that a subscriber may lag behind.
const ROOM: usize = 1024;

type Topics = Arc<Mutex<HashMap<String, Sender<Arc<str>>>>>;

/// Serves until killed.
pub(crate) fn serve() -> Outcome {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        eprintln!("listening on http://{}", listener.local_addr()?);
        let listener = listener.tap_io(|socket| {
            // A socket that is gone already is noticed when it is read.
            let _ = socket.set_nodelay(true);
        });
        let app = Router::new().route("/events/{*topic}", get(subscribe).post(publish));
        Ok(axum::serve(listener, app.with_state(Topics::default())).await?)
    })
}

async fn subscribe(
    State(topics): State<Topics>,
    Path(topic): Path<String>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(unfold(sender(&topics, topic).subscribe(), next))
}

async fn next(
    mut events: Receiver<Arc<str>>,
) -> Option<(Result<Event, Infallible>, Receiver<Arc<str>>)> {
    let data = events.recv().await.ok()?;
    Some((Ok(Event::default().data(&*data)), events))
}

async fn publish(
    State(topics): State<Topics>,
    Path(topic): Path<String>,
    body: String,
) -> StatusCode {
    // Without subscribers, an event goes nowhere.
    let _ = sender(&topics, topic).send(body.into());
    StatusCode::NO_CONTENT
}

fn sender(topics: &Topics, topic: String) -> Sender<Arc<str>> {
    let mut topics = topics.lock().expect("no thread panics while it holds the lock");
    topics.entry(topic).or_insert_with(|| channel(ROOM).0).clone()
}
