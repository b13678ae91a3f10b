//! A new stream with the settings that a cluster needs.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;

use super::api::{ApiFailure, call};
use super::info::{KEY_WINDOW, StreamInfo};
use super::session::Session;
use super::url::ClusterUrl;
use crate::{Created, EngineError, Requirements};

/// All servers have to agree first.
const CREATE: Duration = Duration::from_secs(10);

/// Far more than [`DUPLICATE_WINDOW`](crate::DUPLICATE_WINDOW): a server remembers an ID in some
/// 100 bytes.
const DUPLICATES: Duration = Duration::from_secs(120);

#[derive(Serialize)]
struct NewStream<'a> {
    name: &'a str,
    description: &'a str,
    subjects: [String; 1],
    retention: &'a str,
    storage: &'a str,
    num_replicas: usize,
    discard: &'a str,
    max_age: u128,
    max_bytes: i64,
    max_msgs: i64,
    max_msgs_per_subject: i64,
    max_msg_size: i64,
    max_consumers: i64,
    duplicate_window: u128,
    metadata: HashMap<&'a str, String>,
}

pub(super) async fn create(
    session: &Session,
    url: &ClusterUrl,
    requirements: Requirements,
) -> Result<Created, EngineError> {
    let subject = format!("$JS.API.STREAM.CREATE.{}", url.stream);
    let created = call::<StreamInfo>(session, subject, &settings(url, requirements), CREATE).await;
    match created {
        Ok(_) => Ok(Created::New),
        // Another node was faster.
        Err(ApiFailure::Api(error)) if error.is_stream_exists() => Ok(Created::Existed),
        Err(failure) => Err(failure.into()),
    }
}

/// The stream keeps what the nodes keep, and at least two key windows: a node that starts empty
/// decides as the others do about what comes a key window behind the oldest message.
fn settings(url: &ClusterUrl, requirements: Requirements) -> NewStream<'_> {
    let age = requirements.history_age.map(|age| age.max(2 * requirements.key_window));
    let bytes = requirements.history_bytes.and_then(|bytes| i64::try_from(bytes).ok());
    NewStream {
        name: &url.stream,
        description: "Commits of a Carafe cluster",
        subjects: [format!("carafe.{}", url.stream)],
        retention: "limits",
        storage: "file",
        num_replicas: url.replicas.unwrap_or(1),
        discard: "old",
        max_age: age.map_or(0, |age| age.as_nanos()),
        max_bytes: bytes.unwrap_or(-1),
        max_msgs: -1,
        max_msgs_per_subject: -1,
        max_msg_size: -1,
        max_consumers: -1,
        duplicate_window: duplicates(age).as_nanos(),
        metadata: HashMap::from([(KEY_WINDOW, requirements.key_window.as_millis().to_string())]),
    }
}

/// The server refuses a window that is longer than what it keeps.
fn duplicates(age: Option<Duration>) -> Duration {
    age.map_or(DUPLICATES, |age| age.min(DUPLICATES))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings_of(url: &str, age: Option<u64>, bytes: Option<u64>) -> serde_json::Value {
        let requirements = Requirements {
            event_bytes: 1 << 20,
            history_age: age.map(Duration::from_secs),
            history_bytes: bytes,
            key_window: Duration::from_secs(3600),
        };
        serde_json::to_value(settings(&url.parse().unwrap(), requirements)).unwrap()
    }

    #[test]
    fn a_new_stream_keeps_what_the_nodes_keep_and_need() {
        let day = 24 * 3600;
        let settings = settings_of("nats://a/EVENTS?replicas=3", Some(day), Some(1 << 30));
        assert_eq!(settings["name"], "EVENTS");
        assert_eq!(settings["subjects"], serde_json::json!(["carafe.EVENTS"]));
        assert_eq!(settings["num_replicas"], 3);
        assert_eq!(settings["max_age"], day * 1_000_000_000);
        assert_eq!(settings["max_bytes"], 1 << 30);
        assert_eq!(settings["duplicate_window"], 120_000_000_000_u64);

        let window = settings_of("nats://a/EVENTS", Some(60), None);
        assert_eq!(window["max_age"], 2 * 3600 * 1_000_000_000_u64, "two key windows");
        assert_eq!(window["metadata"]["carafe-key-window-ms"], "3600000");
        assert_eq!((&window["max_bytes"], &window["num_replicas"]), (&(-1).into(), &1.into()));
        assert_eq!(settings_of("nats://a/EVENTS", None, None)["max_age"], 0);
    }
}
