//! What a node reports: why it is not ready, and its metrics.

use std::time::Duration;

use carafe_cluster::{Counters, Link, Node, Progress};
use carafe_http::Figure;

/// Why load balancers should send clients to another node.
pub(super) fn why_not_ready(progress: &Progress, away: Duration) -> Option<String> {
    if let Some(stopped) = &progress.stopped {
        return Some(format!("the node has stopped: {stopped}"));
    }
    if !progress.is_filled {
        return Some(filling(progress));
    }
    if progress.link == Link::Following && !progress.is_caught_up {
        let behind = progress.lag();
        return Some(format!(
            "catching up with the engine of the cluster: {behind} messages behind"
        ));
    }
    let time = away_for(progress);
    let seconds = time.as_secs();
    (time > away).then(|| format!("the engine of the cluster has been away for {seconds} s"))
}

/// How long the node has not followed the engine.
fn away_for(progress: &Progress) -> Duration {
    match progress.link {
        Link::Following => Duration::ZERO,
        Link::Connecting | Link::Away => progress.link_age,
    }
}

/// Such as `filling from the engine of the cluster: 250 of 1000 messages, 25 %`.
fn filling(progress: &Progress) -> String {
    let Some(fill) = progress.fill else {
        return "waiting for the engine of the cluster".into();
    };
    let all = (fill.to + 1).saturating_sub(fill.from);
    let done = (progress.applied + 1).saturating_sub(fill.from).min(all);
    let percent = (done * 100).checked_div(all).unwrap_or(100);
    format!("filling from the engine of the cluster: {done} of {all} messages, {percent} %")
}

/// The metrics of a node.
pub(super) fn figures(node: &Node) -> Vec<Figure> {
    let progress = node.progress();
    let counters = &progress.counters;
    [&gauges(&progress)[..], &publishing(counters), &reading(counters)].concat()
}

fn gauges(progress: &Progress) -> [Figure; 7] {
    let is_connected = progress.link == Link::Following;
    [
        Figure::gauge(
            "carafe_cluster_connected",
            "Whether the node follows the engine",
            flag(is_connected),
        ),
        Figure::gauge(
            "carafe_cluster_away_seconds",
            "Seconds since the engine is away",
            away_for(progress).as_secs_f64(),
        ),
        Figure::gauge(
            "carafe_cluster_filled",
            "Whether the node has caught up with what the engine had at the start",
            flag(progress.is_filled),
        ),
        Figure::gauge(
            "carafe_cluster_caught_up",
            "Whether the node has what the engine had when it was last reached",
            flag(progress.is_caught_up),
        ),
        Figure::gauge(
            "carafe_cluster_remembered_keys",
            "Idempotency keys of events that have left the node's history and still decide",
            number(progress.remembered_keys as u64),
        ),
        Figure::gauge(
            "carafe_cluster_applied_sequence",
            "Sequence of the newest message of the engine that is in the node's log",
            number(progress.applied),
        ),
        Figure::gauge(
            "carafe_cluster_last_sequence",
            "Sequence of the newest message of the engine that the node knows of",
            number(progress.last),
        ),
    ]
}

/// What became of the commits of this node.
fn publishing(counters: &Counters) -> [Figure; 6] {
    [
        Figure::counter(
            "carafe_cluster_commits",
            "Commits of this node that the engine has stored",
            counters.commits,
        ),
        Figure::counter("carafe_cluster_batches", "Requests in these commits", counters.batches),
        Figure::counter(
            "carafe_cluster_unavailable",
            "Requests that were rejected, since the engine was away",
            counters.unavailable,
        ),
        Figure::counter(
            "carafe_cluster_resent",
            "Commits that were sent again, since their outcome was unknown",
            counters.resent,
        ),
        Figure::counter(
            "carafe_cluster_given_up",
            "Commits whose outcome stayed unknown",
            counters.given_up,
        ),
        Figure::counter(
            "carafe_cluster_refused",
            "Commits that the engine has refused",
            counters.refused,
        ),
    ]
}

/// What the node has read from the engine, of all nodes.
fn reading(counters: &Counters) -> [Figure; 7] {
    [
        Figure::counter(
            "carafe_cluster_applied_commits",
            "Commits of all nodes that were read from the engine",
            counters.applied_commits,
        ),
        Figure::counter(
            "carafe_cluster_applied_entries",
            "Entries of these commits that the node has stored",
            counters.applied_entries,
        ),
        Figure::counter(
            "carafe_cluster_skipped",
            "Messages of the engine that no node has written, and that were skipped",
            counters.skipped,
        ),
        Figure::counter(
            "carafe_cluster_late",
            "Commits that the engine has stored long after they were sent, and that were skipped",
            counters.late,
        ),
        Figure::counter(
            "carafe_cluster_missing",
            "Messages that the engine has lost between others",
            counters.missing,
        ),
        Figure::counter(
            "carafe_cluster_tails",
            "How often reading from the engine was begun anew",
            counters.tails,
        ),
        Figure::counter(
            "carafe_cluster_retries",
            "How often storing in the node's own log was tried again",
            counters.retries,
        ),
    ]
}

fn flag(is_set: bool) -> f64 {
    f64::from(u8::from(is_set))
}

/// Sequences do not come near the numbers that a float cannot tell apart.
#[expect(clippy::cast_precision_loss, reason = "a sequence below 2^53 is exact")]
fn number(sequence: u64) -> f64 {
    sequence as f64
}
