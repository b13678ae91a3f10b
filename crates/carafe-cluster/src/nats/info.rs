//! What the server tells of a stream.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::de::{Error, IgnoredAny};
use serde::{Deserialize, Deserializer};

/// The others elect another leader when they have not heard from theirs for 4 s at least.
const LEASE: Duration = Duration::from_millis(3500);

/// The answer to `STREAM.INFO`, as far as it matters.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct StreamInfo {
    pub(super) config: StreamConfig,
    #[serde(deserialize_with = "rfc_3339")]
    pub(super) created: SystemTime,
    /// The time of the server that leads the stream, and gives messages their time. Servers before
    /// 2.10 do not tell it.
    #[serde(rename = "ts", default, deserialize_with = "some_rfc_3339")]
    pub(super) now: Option<SystemTime>,
    pub(super) state: StreamState,
    /// `None`: a server that is alone.
    pub(super) cluster: Option<ClusterInfo>,
}

impl StreamInfo {
    /// Whether the leader that answers has heard from a majority lately. Else there may be another
    /// one: a leader that is cut off believes for some 10 s that it leads, and tells what it has.
    pub(super) fn is_of_majority(&self) -> bool {
        let others = self.cluster.as_ref().map_or(&[][..], |cluster| &cluster.replicas);
        let heard = others.iter().filter(|peer| peer.is_heard()).count();
        2 * (heard + 1) > others.len() + 1
    }
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct StreamState {
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    pub(super) messages: u64,
    #[serde(default)]
    pub(super) bytes: u64,
    /// The times of the oldest and the newest message.
    #[serde(default, deserialize_with = "some_rfc_3339")]
    pub(super) first_ts: Option<SystemTime>,
    #[serde(default, deserialize_with = "some_rfc_3339")]
    pub(super) last_ts: Option<SystemTime>,
    #[serde(default)]
    pub(super) consumer_count: i64,
}

impl StreamState {
    /// An empty stream has `0` before its first message, and the next sequence later.
    pub(super) fn first(&self) -> u64 {
        if self.messages == 0 { self.last_seq + 1 } else { self.first_seq }
    }

    /// The time between the oldest and the newest message.
    pub(super) fn span(&self) -> Option<Duration> {
        self.last_ts?.duration_since(self.first_ts?).ok()
    }
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct ClusterInfo {
    #[serde(default)]
    pub(super) replicas: Vec<Peer>,
}

/// A replica that is not the leader.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Peer {
    pub(super) name: String,
    #[serde(default)]
    pub(super) current: bool,
    #[serde(default)]
    pub(super) offline: bool,
    /// The time since the leader has heard from it. `None`: never, as the leader.
    #[serde(default, deserialize_with = "nanoseconds")]
    active: Option<Duration>,
}

impl Peer {
    fn is_heard(&self) -> bool {
        self.active.map_or(self.current, |active| active < LEASE)
    }
}

/// The settings of a stream. A limit that is 0 or negative is none.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct StreamConfig {
    #[serde(default)]
    pub(super) subjects: Vec<String>,
    pub(super) retention: String,
    #[serde(default)]
    pub(super) max_msgs: i64,
    #[serde(default)]
    pub(super) max_msgs_per_subject: i64,
    #[serde(default)]
    pub(super) max_bytes: i64,
    #[serde(default)]
    pub(super) max_consumers: i64,
    #[serde(default)]
    pub(super) max_msg_size: i64,
    #[serde(default, deserialize_with = "nanoseconds")]
    pub(super) max_age: Option<Duration>,
    #[serde(default, deserialize_with = "nanoseconds")]
    pub(super) duplicate_window: Option<Duration>,
    pub(super) discard: String,
    pub(super) storage: String,
    pub(super) num_replicas: usize,
    #[serde(default)]
    pub(super) no_ack: bool,
    #[serde(default)]
    pub(super) sealed: bool,
    #[serde(default)]
    pub(super) mirror: Option<IgnoredAny>,
    #[serde(default)]
    pub(super) sources: Option<Vec<IgnoredAny>>,
    #[serde(default)]
    pub(super) persist_mode: Option<String>,
    #[serde(default)]
    pub(super) metadata: HashMap<String, String>,
}

/// The key in the metadata of a stream for the key window of all nodes, in milliseconds.
pub(super) const KEY_WINDOW: &str = "carafe-key-window-ms";

impl StreamConfig {
    pub(super) fn key_window(&self) -> Option<Duration> {
        let milliseconds = self.metadata.get(KEY_WINDOW)?.parse().ok()?;
        Some(Duration::from_millis(milliseconds))
    }
}

/// 0 is none.
fn nanoseconds<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let nanoseconds = i64::deserialize(from)?;
    Ok(u64::try_from(nanoseconds).ok().filter(|it| *it > 0).map(Duration::from_nanos))
}

fn some_rfc_3339<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SystemTime>, D::Error> {
    rfc_3339(from).map(Some)
}

pub(super) fn rfc_3339<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
    let text = String::deserialize(from)?;
    text.parse::<Timestamp>().map(SystemTime::from).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use serde_json::json;

    use super::*;

    const ANSWER: &str = r#"{
        "type": "io.nats.jetstream.api.v1.stream_info_response", "total": 0,
        "config": {
            "name": "EVENTS", "subjects": ["carafe.EVENTS"], "retention": "limits",
            "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "max_age": 3600000000000,
            "max_msgs_per_subject": -1, "max_msg_size": -1, "discard": "old", "storage": "file",
            "num_replicas": 3, "duplicate_window": 120000000000, "sealed": false
        },
        "created": "2026-11-29T10:00:00.123456789Z",
        "state": {"messages": 0, "bytes": 0, "first_seq": 0, "last_seq": 0, "consumer_count": 0,
            "first_ts": "0001-01-01T00:00:00Z", "last_ts": "0001-01-01T00:00:00Z"},
        "cluster": {"leader": "n1", "replicas": [{"name": "n2", "current": true, "active": 5}]},
        "ts": "2026-11-29T10:00:01.5Z"
    }"#;

    #[test]
    fn the_answer_of_a_server_is_read() {
        let info: StreamInfo = serde_json::from_str(ANSWER).unwrap();
        let since = info.created.duration_since(UNIX_EPOCH).unwrap();
        assert_eq!(since, Duration::from_nanos(1_795_946_400_123_456_789));
        let since_created = info.now.unwrap().duration_since(info.created).unwrap();
        assert_eq!(since_created, Duration::from_nanos(1_376_543_211));
        assert_eq!(info.config.max_age, Some(Duration::from_secs(3600)));
        assert_eq!(info.config.duplicate_window, Some(Duration::from_secs(120)));
        assert_eq!((info.config.num_replicas, info.config.max_bytes), (3, -1));
        assert!(info.config.mirror.is_none() && info.config.persist_mode.is_none());
        let peers = info.cluster.unwrap().replicas;
        assert!(peers[0].current && !peers[0].offline);
    }

    #[test]
    fn a_leader_that_hears_from_no_majority_is_not_believed() {
        let check = |replicas: &str, is_believed: bool| {
            let replicas = format!("\"replicas\": [{replicas}]");
            let told = r#""replicas": [{"name": "n2", "current": true, "active": 5}]"#;
            assert!(ANSWER.contains(told));
            let info: StreamInfo = serde_json::from_str(&ANSWER.replace(told, &replicas)).unwrap();
            assert_eq!(info.is_of_majority(), is_believed, "{replicas}");
        };
        let near = r#"{"name": "n2", "current": true, "active": 900000000}"#;
        let behind = r#"{"name": "n2", "current": false, "active": 900000000, "lag": 7}"#;
        let far = r#"{"name": "n3", "current": true, "active": 4000000000}"#;
        let never = r#"{"name": "n3", "current": false, "offline": true, "active": 0}"#;
        check("", true);
        for one in [near, behind] {
            check(&format!("{one}, {one}"), true);
            check(&format!("{one}, {far}"), true);
            check(&format!("{never}, {one}"), true);
        }
        check(&format!("{far}, {far}"), false);
        check(&format!("{far}, {never}"), false);
    }

    #[test]
    fn an_empty_stream_begins_behind_its_last_sequence() {
        let first = |messages, first_seq, last_seq| {
            let state = json!({"first_seq": first_seq, "last_seq": last_seq, "messages": messages});
            serde_json::from_value::<StreamState>(state).unwrap().first()
        };
        assert_eq!(first(0, 0, 0), 1);
        assert_eq!(first(0, 8, 7), 8);
        assert_eq!(first(3, 5, 7), 5);
    }
}
