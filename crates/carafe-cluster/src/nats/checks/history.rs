//! What the stream keeps, compared with what the nodes keep and need.

use std::time::Duration;

use crate::nats::info::{KEY_WINDOW, StreamConfig, StreamInfo};
use crate::{Finding, Requirements};

pub(super) fn discard(config: &StreamConfig) -> Finding {
    let is_limited = config.max_bytes > 0 || config.max_msgs > 0;
    if config.discard == "old" || !is_limited {
        return Finding::right("discard", "the stream drops its oldest messages when it is full");
    }
    Finding::warning(
        "discard",
        format!(
            "when the stream is full, it refuses what is published (discard `{}`): set discard \
             `old`",
            config.discard
        ),
    )
}

/// What decides about a publication is at most a key window old, so every node has to have that.
pub(super) fn key_window(config: &StreamConfig, requirements: Requirements) -> Finding {
    let window = requirements.key_window;
    let known = format!("keys are known for {window:?}");
    let shorter = |age: Option<Duration>, least: Duration| age.filter(|age| *age < least);
    let (stream, nodes) = (config.max_age, requirements.history_age);
    if let Some(age) = shorter(stream, window) {
        let text = format!(
            "the stream keeps messages for {age:?}, and {known}: raise its max_age to {:?}, or \
             lower --key-window",
            2 * window
        );
        return Finding::refusal("key window", text);
    }
    if let Some(age) = shorter(nodes, window) {
        let text = format!(
            "nodes keep entries for {age:?}, and {known}: raise --history-age, or lower \
             --key-window"
        );
        return Finding::refusal("key window", text);
    }
    if let Some(age) = shorter(stream, 2 * window) {
        let text = format!(
            "the stream keeps messages for {age:?}, and {known}: a node that starts empty may \
             decide otherwise than the others about what is repeated in its first {window:?}. \
             Raise its max_age to {:?}",
            2 * window
        );
        return Finding::warning("key window", text);
    }
    Finding::right("key window", known)
}

/// Nodes with different windows decide differently.
pub(super) fn agreement(config: &StreamConfig, requirements: Requirements) -> Finding {
    let window = requirements.key_window;
    match config.key_window() {
        Some(all) if all == window => Finding::right("agreement", "all nodes have this key window"),
        Some(all) => Finding::refusal(
            "agreement",
            format!(
                "this node has --key-window {window:?}, and the cluster {all:?}: use the same. To \
                 change it for all nodes, stop them, and set the stream's metadata {KEY_WINDOW}={}",
                window.as_millis()
            ),
        ),
        None => Finding::warning(
            "agreement",
            format!(
                "the stream does not say which --key-window the nodes have, which must be the same \
                 on all: set its metadata {KEY_WINDOW}={}",
                window.as_millis()
            ),
        ),
    }
}

pub(super) fn age(config: &StreamConfig, requirements: Requirements) -> Finding {
    let (stream, nodes) = (config.max_age, requirements.history_age);
    match stream {
        Some(stream) if nodes.is_none_or(|nodes| nodes > stream) => Finding::warning(
            "age",
            format!(
                "the stream keeps messages for {stream:?}, so a node that starts empty has less \
                 history than others: set --history-age to {stream:?} at most, or raise max_age"
            ),
        ),
        _ => Finding::right("age", "the stream keeps messages as long as nodes keep entries"),
    }
}

/// By size, nodes and stream never drop the same at the same time.
pub(super) fn bytes(config: &StreamConfig, requirements: Requirements) -> Finding {
    let stream = u64::try_from(config.max_bytes).ok().filter(|bytes| *bytes > 0);
    match (stream, requirements.history_bytes) {
        (stream, Some(node)) if stream.is_none_or(|stream| node < stream) => Finding::right(
            "bytes",
            format!(
                "nodes keep {node} bytes of history, less than the stream. They remember the keys \
                 of what they remove"
            ),
        ),
        (Some(stream), _) => Finding::right("bytes", format!("the stream keeps {stream} bytes")),
        (None, _) => Finding::right("bytes", "no limit"),
    }
}

/// With fewer messages than this, each node that is slow for a moment would be overtaken.
const LEAST_MESSAGES: i64 = 10_000;

pub(super) fn limits(config: &StreamConfig) -> Finding {
    let counts = [config.max_msgs, config.max_msgs_per_subject];
    if let Some(most) = counts.into_iter().filter(|most| *most > 0).min() {
        if most < LEAST_MESSAGES {
            let text = format!(
                "the stream keeps {most} messages, which are commits of any size: a node that is \
                 slow for a moment would miss some. Limit the stream by max_age or max_bytes instead"
            );
            return Finding::refusal("limits", text);
        }
        let text = "the stream keeps a limited number of messages, which are commits of any size: \
                    limit it by max_age or max_bytes instead";
        return Finding::warning("limits", text);
    }
    if config.max_age.is_none() && config.max_bytes <= 0 {
        let text = "the stream has no limit, and grows until the disks are full: set max_age or \
                    max_bytes";
        return Finding::warning("limits", text);
    }
    Finding::right("limits", "the stream is limited")
}

/// A stream that is full may remove by its size what still decides.
pub(super) fn space(info: &StreamInfo, requirements: Requirements) -> Finding {
    let (state, window) = (&info.state, requirements.key_window);
    let limit = u64::try_from(info.config.max_bytes).ok().filter(|bytes| *bytes > 0);
    // A server that removes a message leaves less than the largest one free.
    let is_full = limit.is_some_and(|limit| state.bytes > limit - limit / 16);
    match state.span().filter(|span| is_full && state.first_seq > 1 && *span < 2 * window) {
        Some(span) => Finding::warning(
            "space",
            format!(
                "the stream is full, and its messages are of the last {span:?}: a node that starts \
                 empty may decide otherwise than the others about what is repeated. Raise its \
                 max_bytes until it holds {:?}, or lower --key-window",
                2 * window
            ),
        ),
        None => Finding::right("space", "the stream holds what decides"),
    }
}
