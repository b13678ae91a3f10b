//! What the tests do with servers and engines.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use carafe_cluster::{
    ClusterUrl, Created, EngineError, Message, Requirements, Setup, Stored, Tail,
};
use carafe_testing::nats::NatsServers;
use tokio::time::timeout;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn start(count: usize, configuration: impl Into<String>) -> Arc<NatsServers> {
    let configuration = configuration.into();
    blocking(move || Arc::new(NatsServers::configured(count, &configuration))).await
}

/// What the harness does blocks its thread.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Does something with the servers.
pub(crate) async fn with<T: Send + 'static>(
    servers: &Arc<NatsServers>,
    work: impl FnOnce(&NatsServers) -> T + Send + 'static,
) -> T {
    let servers = Arc::clone(servers);
    blocking(move || work(&servers)).await
}

pub(crate) fn url(servers: &NatsServers, stream: &str) -> ClusterUrl {
    format!("{}/{stream}", servers.url()).parse().unwrap()
}

pub(crate) async fn connect(url: ClusterUrl) -> Arc<dyn Setup> {
    carafe_cluster::open(url).await.unwrap()
}

/// An engine with a new stream.
pub(crate) async fn engine(servers: &NatsServers, stream: &str) -> Arc<dyn Setup> {
    let engine = connect(url(servers, stream)).await;
    assert_eq!(engine.create(requirements()).await, Ok(Created::New));
    engine
}

pub(crate) fn requirements() -> Requirements {
    Requirements {
        event_bytes: 1024,
        history_age: None,
        history_bytes: None,
        key_window: Duration::from_secs(60),
    }
}

pub(crate) fn message(payload: impl Into<bytes::Bytes>) -> Message {
    Message::new(1, SystemTime::now(), payload)
}

/// Sends a message until its outcome is known, as a node does.
pub(crate) async fn append(engine: &Arc<dyn Setup>, text: impl Into<bytes::Bytes>) -> u64 {
    append_message(engine, &message(text)).await
}

pub(crate) async fn append_message(engine: &Arc<dyn Setup>, message: &Message) -> u64 {
    eventually("the engine stores a message", || async {
        match engine.append(message.clone()).await {
            Ok(sequence) => Some(sequence),
            Err(EngineError::Unavailable(_)) => None,
            Err(error) => panic!("{error}"),
        }
    })
    .await
}

/// Asks until there is an answer.
pub(crate) async fn eventually<T, F>(what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let answered = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, answered).await.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}

/// A tail from `from` on. Asks until the engine gives one.
pub(crate) async fn tail(engine: &Arc<dyn Setup>, from: u64) -> Box<dyn Tail> {
    eventually("a tail", || async { engine.tail(from).await.ok() }).await
}

/// The next `count` messages of an engine from `from` on. Takes a new tail after each error.
pub(crate) async fn read(engine: &Arc<dyn Setup>, from: u64, count: usize) -> Vec<Stored> {
    let mut all: Vec<Stored> = Vec::new();
    while all.len() < count {
        let next = all.last().map_or(from, |last| last.sequence + 1);
        let mut tail = tail(engine, next).await;
        while all.len() < count
            && let Ok(messages) = timeout(PATIENCE, tail.next()).await.unwrap()
        {
            all.extend(messages);
        }
    }
    all
}

pub(crate) fn text(stored: &Stored) -> String {
    String::from_utf8(stored.payload.to_vec()).unwrap()
}

pub(crate) fn texts(messages: &[Stored]) -> Vec<String> {
    messages.iter().map(text).collect()
}
