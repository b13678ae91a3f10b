//! Compares the settings of a stream with what the nodes require.

mod history;

use super::denied::{Denied, what_to_grant};
use super::info::{Peer, StreamConfig, StreamInfo};
use crate::{DUPLICATE_WINDOW, Finding, Requirements};

/// The oldest server whose API is used as it is documented.
const VERSION: (u64, u64) = (2, 10);

/// What an event may take in a commit beside its data: topics, key, type, and the commit's frame.
const EVENT_OVERHEAD: usize = 16 << 10;

/// What a server says of itself.
pub(super) struct Server {
    pub(super) version: String,
    /// The maximum size of a payload, in bytes.
    pub(super) payload: usize,
    /// What it does not permit of what a node does.
    pub(super) denied: Vec<Denied>,
}

pub(super) fn check(
    info: &StreamInfo,
    server: &Server,
    replicas: Option<usize>,
    requirements: Requirements,
) -> Vec<Finding> {
    let config = &info.config;
    vec![
        version(&server.version),
        permissions(&server.denied),
        storage(config),
        durability(config),
        replica_count(config, replicas),
        peers(info),
        subjects(config),
        origin(config),
        retention(config),
        acknowledgements(config),
        duplicates(config),
        payload(server.payload, requirements),
        history::discard(config),
        history::key_window(config, requirements),
        history::agreement(config, requirements),
        history::age(config, requirements),
        history::bytes(config, requirements),
        history::limits(config),
        history::space(info, requirements),
        consumers(info),
    ]
}

fn version(version: &str) -> Finding {
    let mut numbers = version.split('.').map_while(|number| number.parse().ok());
    let parsed = numbers.next().zip(numbers.next());
    let text = format!("the server is nats-server {version}");
    if parsed.is_some_and(|parsed| parsed < VERSION) {
        return Finding::refusal("version", format!("{text}: update it to 2.10 or later"));
    }
    Finding::right("version", text)
}

fn permissions(denied: &[Denied]) -> Finding {
    if denied.is_empty() {
        return Finding::right("permissions", "the user may publish what a node publishes");
    }
    Finding::refusal("permissions", what_to_grant(denied))
}

fn storage(config: &StreamConfig) -> Finding {
    if config.storage == "file" {
        return Finding::right("storage", "the stream is in files");
    }
    Finding::refusal(
        "storage",
        format!(
            "the stream is in {}, and is lost when the servers restart: create it with storage \
             `file`",
            config.storage
        ),
    )
}

/// The server tells nobody but its administrator when it syncs.
fn durability(config: &StreamConfig) -> Finding {
    if config.persist_mode.as_deref() == Some("async") {
        return Finding::refusal(
            "durability",
            "the server acknowledges events before it stores them: create the stream with \
             persist_mode `default`",
        );
    }
    if config.num_replicas > 1 {
        return Finding::right(
            "durability",
            "an acknowledged event is on most servers of the stream. If they may all lose power at \
             once, set `sync_interval: always` in the servers' configuration",
        );
    }
    Finding::warning(
        "durability",
        "an acknowledged event is on one server, which syncs every two minutes by default: set \
         `sync_interval: always` in its configuration, or use three replicas",
    )
}

fn replica_count(config: &StreamConfig, wanted: Option<usize>) -> Finding {
    let count = config.num_replicas;
    let text = format!("the stream has {count} replicas");
    match wanted {
        Some(wanted) if count < wanted => Finding::refusal(
            "replicas",
            format!("{text}, and {wanted} are asked for: `nats stream edit --replicas={wanted}`"),
        ),
        _ if count == 1 => Finding::warning(
            "replicas",
            "the stream has one replica: while its server is down, nothing can be published, and \
             its disk is the only copy. Use three servers and replicas=3",
        ),
        _ if count.is_multiple_of(2) => Finding::warning(
            "replicas",
            format!("{text}, and survives no more failures than with one less: use 3 or 5"),
        ),
        _ => Finding::right("replicas", text),
    }
}

fn peers(info: &StreamInfo) -> Finding {
    let replicas = info.cluster.as_ref().map_or(&[][..], |cluster| &cluster.replicas);
    let behind = replicas.iter().filter(|peer| peer.offline || !peer.current);
    let names: Vec<&str> = behind.map(|peer: &Peer| &*peer.name).collect();
    if names.is_empty() {
        return Finding::right("servers", "all replicas are up to date");
    }
    let names = names.join(", ");
    Finding::warning(
        "servers",
        format!(
            "these servers are down or behind: {names}. Until they are back, another failure \
             may stop publishing"
        ),
    )
}

fn subjects(config: &StreamConfig) -> Finding {
    match &*config.subjects {
        [subject] if !subject.contains(['*', '>']) => {
            Finding::right("subjects", format!("the stream has the subject {subject}"))
        }
        subjects => Finding::refusal(
            "subjects",
            format!(
                "the stream has the subjects [{}]: give it one, without wildcards",
                subjects.join(", ")
            ),
        ),
    }
}

fn origin(config: &StreamConfig) -> Finding {
    let has_sources = config.sources.as_ref().is_some_and(|sources| !sources.is_empty());
    let wrong = match (config.sealed, config.mirror.is_some() || has_sources) {
        (true, _) => "the stream is sealed, and takes no messages",
        (_, true) => "the stream takes messages from other streams, so their sequences may change",
        _ => return Finding::right("origin", "only its subject feeds the stream"),
    };
    Finding::refusal("origin", format!("{wrong}: use a stream of its own for the cluster"))
}

fn retention(config: &StreamConfig) -> Finding {
    if config.retention == "limits" {
        return Finding::right("retention", "the stream keeps messages within its limits");
    }
    Finding::refusal(
        "retention",
        format!(
            "the stream has retention `{}`, and drops what one node has read: create it with \
             retention `limits`",
            config.retention
        ),
    )
}

fn acknowledgements(config: &StreamConfig) -> Finding {
    if config.no_ack {
        let text = "the stream acknowledges nothing: create it without no_ack";
        return Finding::refusal("acknowledgements", text);
    }
    Finding::right("acknowledgements", "the stream acknowledges what it has stored")
}

fn duplicates(config: &StreamConfig) -> Finding {
    let window = config.duplicate_window.unwrap_or_default();
    let text = format!("what is sent again is recognized for {window:?}");
    if window >= DUPLICATE_WINDOW {
        return Finding::right("duplicate window", text);
    }
    Finding::refusal(
        "duplicate window",
        format!("{text}, so events may be stored twice: set it to {DUPLICATE_WINDOW:?} or more"),
    )
}

/// A node reads by one consumer. When it reads anew, the server keeps the old one for some seconds.
const CONSUMERS_OF_A_NODE: i64 = 2;

fn consumers(info: &StreamInfo) -> Finding {
    let (most, used) = (info.config.max_consumers, info.state.consumer_count);
    if most <= 0 {
        return Finding::right("consumers", "the stream may have any number of consumers");
    }
    let text = format!("the stream may have {most} consumers, and has {used}");
    if most < CONSUMERS_OF_A_NODE {
        let text =
            format!("{text}: a node needs one, and two for a moment. Create it without limit");
        return Finding::refusal("consumers", text);
    }
    if used + CONSUMERS_OF_A_NODE > most {
        let text = format!(
            "{text}: another node may not be able to read. Create the stream without \
             max_consumers, which cannot be changed"
        );
        return Finding::warning("consumers", text);
    }
    Finding::right("consumers", text)
}

fn payload(payload: usize, requirements: Requirements) -> Finding {
    let needed = requirements.event_bytes.saturating_add(EVENT_OVERHEAD);
    let text = format!("a commit may have {payload} bytes");
    if payload >= needed {
        return Finding::right("message size", text);
    }
    Finding::refusal(
        "message size",
        format!(
            "{text}, and one event may need {needed}: raise the servers' max_payload and the \
             stream's max_msg_size, or lower --event-bytes to {}",
            payload.saturating_sub(EVENT_OVERHEAD)
        ),
    )
}

#[cfg(test)]
mod tests;
