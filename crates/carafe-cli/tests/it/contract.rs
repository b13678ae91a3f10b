//! The contract tests of LaunchDarkly's suite for clients of event streams, `sse-contract-tests`.
//!
//! The suite is a program in Go, which is not copied here: build it, and name it in
//! `CARAFE_TEST_CONTRACT`. It asks the service below to read its streams.

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header::LOCATION};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use carafe_client::{EventSource, EventSourceOptions, Method, State as SourceState};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::client_matrix::rust::client;
use crate::clients::skip;
use crate::process::free_address;

const PROGRAM: &str = "CARAFE_TEST_CONTRACT";

/// Comments are no events of a source, and types need no listeners.
const CAPABILITIES: [&str; 7] =
    ["bom", "headers", "last-event-id", "post", "read-timeout", "report", "restart"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_passes_the_contract_tests() {
    let Ok(program) = std::env::var(PROGRAM) else {
        return skip(
            "the_client_passes_the_contract_tests",
            &format!("{PROGRAM} names no program"),
        );
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = Service::default();
    let routes = Router::new()
        .route("/", get(capabilities).post(open))
        .route("/{stream}", post(command).delete(close))
        .with_state(service);
    let serving = tokio::spawn(async { axum::serve(listener, routes).await.unwrap() });
    let port = free_address().port().to_string();
    let mut suite = Command::new(program);
    suite.args(["-url", &url, "-port", &port, "-host", "127.0.0.1"]).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || suite.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    serving.abort();
}

/// The open streams: what restarts each.
#[derive(Clone, Default)]
struct Service(Arc<Mutex<HashMap<usize, UnboundedSender<()>>>>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    stream_url: String,
    callback_url: String,
    initial_delay_ms: Option<u64>,
    read_timeout_ms: Option<u64>,
    last_event_id: Option<String>,
    method: Option<String>,
    body: Option<String>,
    #[serde(default)]
    headers: HashMap<String, String>,
}

impl Parameters {
    fn options(&self) -> EventSourceOptions {
        let mut options = EventSource::options(&*self.stream_url);
        for (name, value) in &self.headers {
            options = options.header(name, value);
        }
        if let Some(time) = self.initial_delay_ms {
            options = options.retry(Duration::from_millis(time));
        }
        if let Some(time) = self.read_timeout_ms {
            options = options.silence(Duration::from_millis(time));
        }
        if let Some(method) = &self.method {
            options = options.method(Method::from_bytes(method.as_bytes()).unwrap());
        }
        if let Some(body) = &self.body {
            options = options.body(body.clone());
        }
        options.last_event_id(self.last_event_id.clone().unwrap_or_default())
    }
}

async fn capabilities() -> Json<Value> {
    Json(json!({ "capabilities": CAPABILITIES }))
}

async fn open(
    State(Service(streams)): State<Service>,
    Json(stream): Json<Parameters>,
) -> impl IntoResponse {
    let (restart, restarts) = unbounded_channel();
    let mut streams = streams.lock().unwrap();
    let number = streams.len();
    streams.insert(number, restart);
    tokio::spawn(read(stream, restarts));
    (StatusCode::CREATED, [(LOCATION, format!("/{number}"))])
}

/// The only command is to restart.
async fn command(State(Service(streams)): State<Service>, Path(number): Path<usize>) -> StatusCode {
    let sent = streams.lock().unwrap().get(&number).map(|restart| restart.send(()));
    if matches!(sent, Some(Ok(()))) { StatusCode::ACCEPTED } else { StatusCode::NOT_FOUND }
}

/// The stream ends with its sender, whose place stays.
async fn close(State(Service(streams)): State<Service>, Path(number): Path<usize>) -> StatusCode {
    let (gone, _) = unbounded_channel();
    streams.lock().unwrap().insert(number, gone);
    StatusCode::NO_CONTENT
}

/// Tells the suite what a source reads, until the suite closes the stream.
async fn read(mut stream: Parameters, mut restarts: UnboundedReceiver<()>) {
    let (report, mut lost) = unbounded_channel();
    let (client, mut count) = (client(), 0);
    let connect = |stream: &Parameters| {
        let report = report.clone();
        let options = stream.options().on_state(move |state| {
            if let SourceState::Waiting { reason, .. } = state {
                drop(report.send(reason.to_string()));
            }
        });
        options.connect()
    };
    let mut source = connect(&stream);
    loop {
        let message = tokio::select! {
            restart = restarts.recv() => match restart {
                Some(()) => {
                    stream.last_event_id = Some(source.last_event_id().into());
                    source = connect(&stream);
                    continue;
                }
                None => return,
            },
            Some(reason) = lost.recv() => json!({ "kind": "error", "error": reason }),
            event = source.next() => match event {
                Some(Ok(event)) => {
                    let id = event.id();
                    let event = json!({ "type": event.event_type, "data": event.data, "id": id });
                    json!({ "kind": "event", "event": event })
                }
                Some(Err(error)) => json!({ "kind": "error", "error": error.to_string() }),
                None => return,
            },
        };
        count += 1;
        let url = format!("{}/{count}", stream.callback_url);
        // The suite may have closed the stream.
        let _ = client.post(url).body(message.to_string()).send().await;
    }
}
