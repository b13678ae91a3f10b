//! What a stream reports of the life of a topic: its end, and requests to stop.

use carafe_log::{Entry, Kind, Outcome, Publication, Removed};
use serde::Serialize;

use crate::json_line::json_line;

#[derive(Serialize)]
struct End<'a> {
    topic: &'a str,
    outcome: &'static str,
    reason: Option<&'a str>,
    position: String,
}

#[derive(Serialize)]
struct Stop<'a> {
    topic: &'a str,
    reason: Option<&'a str>,
    position: String,
}

/// The data of `carafe.end`.
pub(crate) fn end_json(entry: &Entry, outcome: Outcome) -> String {
    json_line(&End {
        topic: entry.topic().as_str(),
        outcome: outcome.as_str(),
        reason: reason(entry),
        position: entry.position.to_string(),
    })
}

/// The data of `carafe.stop`.
pub(crate) fn stop_json(entry: &Entry) -> String {
    json_line(&Stop {
        topic: entry.topic().as_str(),
        reason: reason(entry),
        position: entry.position.to_string(),
    })
}

fn reason(entry: &Entry) -> Option<&str> {
    Some(entry.data()).filter(|reason| !reason.is_empty())
}

/// Whether a subscriber notices the entry: receives it, or a gap in its place. What removes content
/// is only for the log.
pub(crate) fn is_delivered(publication: &Publication) -> bool {
    let is_told = matches!(
        publication.kind(),
        Kind::Event | Kind::End(_) | Kind::Stop | Kind::Removed(Removed::Erased)
    );
    is_told && !publication.is_internal()
}

/// Whether the entry says that a topic has ended, or that it shall.
pub(crate) fn is_of_life(entry: &Entry) -> bool {
    matches!(entry.publication.kind(), Kind::End(_) | Kind::Stop)
}

pub(crate) fn is_end(entry: &Entry) -> bool {
    matches!(entry.publication.kind(), Kind::End(_))
}

/// How many events the entry counts as in the statistics of what was delivered.
pub(crate) fn events(entry: &Entry) -> u32 {
    u32::from(entry.publication.is_event())
}
