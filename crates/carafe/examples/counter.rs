//! The tutorial that this project began with: `/events` counts every second, and a page shows it.
//!
//! `cargo run --example counter`, then open <http://127.0.0.1:3000>. `PORT` chooses another port.

use std::time::Duration;

use axum::Router;
use axum::http::Version;
use axum::http::header::{CACHE_CONTROL, CONNECTION};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use carafe::EventStream;
use tokio::net::TcpListener;
use tokio::time::sleep;

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Counter</title>
<div id="content"></div>
<script>
  const source = new EventSource('/events');
  source.addEventListener('message', (message) => {
    document.getElementById('content').append(message.data, document.createElement('br'));
  });
</script>
</html>
"#;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").unwrap_or("3000".into());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let app = Router::new().route("/", get(Html(PAGE))).route("/events", get(events));
    axum::serve(listener, app).await
}

async fn events(version: Version) -> impl IntoResponse {
    println!("connected");
    let stream = EventStream::new(async |events| {
        events.retry(Duration::from_secs(10)).await?;
        for count in 1.. {
            sleep(Duration::from_secs(1)).await;
            println!("emit {count}");
            events.data(count).await?;
        }
        Ok(())
    });
    // The headers of the tutorial. HTTP/1.0 and HTTP/2 have no `Connection: keep-alive`.
    let keep_alive = (version == Version::HTTP_11).then_some([(CONNECTION, "keep-alive")]);
    (keep_alive, [(CACHE_CONTROL, "no-cache")], stream)
}
