//! The heartbeat that a client requests: `event`, `4s`, `event:20s`.

use std::time::Duration;

use carafe_hub::Heartbeat;

use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::api::options::Options;

pub(crate) const PARAMETER: &str = "heartbeat";

/// The heartbeat of a stream whose client has given this value. An interval out of range is
/// replaced by the nearest within: a client that is rejected would never come back.
pub(crate) fn requested(value: Option<&str>, options: &Options) -> Result<Heartbeat, Problem> {
    let Some(value) = value else { return Ok(Heartbeat::default()) };
    let (kind, interval) = match value.split_once(':') {
        Some((kind, interval)) => (kind, Some(interval)),
        None if value.starts_with(|first: char| first.is_ascii_digit()) => ("comment", Some(value)),
        None => (value, None),
    };
    let heartbeat = match kind {
        "comment" => Heartbeat::comment(),
        "event" => Heartbeat::event(),
        _ => return Err(unknown()),
    };
    match interval.map(duration) {
        None => Ok(heartbeat),
        Some(Some(interval)) => Ok(heartbeat.every(options.limited_heartbeat(interval))),
        Some(None) => Err(unknown()),
    }
}

/// A whole number above zero with a unit; `None` if it is none.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return None,
    };
    let number = match number.trim_start_matches('0') {
        "" => return None,
        // Digits that are too many mean the longest interval.
        number => number.parse().unwrap_or(u32::MAX),
    };
    Some(Duration::from_millis(unit) * number)
}

fn unknown() -> Problem {
    let detail = "unknown heartbeat: use heartbeat=event, an interval such as heartbeat=4s, or \
                  both: heartbeat=event:20s; units are ms, s and m";
    Problem::of(ProblemKind::BadParameter, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, expected: Option<Heartbeat>) {
        assert_eq!(requested(Some(value), &Options::default()).ok(), expected, "{value}");
    }

    #[test]
    fn a_heartbeat_is_an_event_or_a_comment_with_an_interval_within_the_range() {
        let (comment, event) = (Heartbeat::comment(), Heartbeat::event());
        let seconds = Duration::from_secs;
        for (value, expected) in [
            ("event", event),
            ("comment", comment),
            ("4s", comment.every(seconds(4))),
            ("comment:0004s", comment.every(seconds(4))),
            ("event:20s", event.every(seconds(20))),
            ("event:2500ms", event.every(seconds(2))),
            ("1m", comment.every(seconds(60))),
            ("1ms", comment.every(seconds(1))),
            ("5m", comment.every(seconds(60))),
            ("99999999999999999999999m", comment.every(seconds(60))),
        ] {
            check(value, Some(expected));
        }
        let unset = requested(None, &Options::default()).ok();
        assert_eq!(unset, Some(Heartbeat::default()));
    }

    #[test]
    fn other_values_are_rejected() {
        for value in [
            "", "on", "off", "4", "s", "0s", "-1s", "4h", "1.5s", "event:", "event:4", "Event",
            ":4s",
        ] {
            check(value, None);
        }
    }
}
