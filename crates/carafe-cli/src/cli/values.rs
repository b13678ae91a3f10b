//! Parsers of option values.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use carafe_hub::Retention;
use carafe_protocol::{TopicMatcher, TopicPattern};
use jiff::{Span, SpanRelativeTo};
use url::Url;

/// Where events are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LogPlace {
    Memory,
    Disk(PathBuf),
}

/// A duration; a day has 24 hours.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let span: Option<Span> = text.parse().ok();
    span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok())
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| "expected a duration such as 500ms, 15s, 2m or 30d".into())
}

pub(crate) fn positive_duration(text: &str) -> Result<Duration, String> {
    Some(duration(text)?)
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "expected a duration above zero, such as 15s".into())
}

pub(super) fn duration_range(text: &str) -> Result<RangeInclusive<Duration>, String> {
    let (least, most) = text.split_once("..").ok_or("expected a range such as 500ms..5m")?;
    Some(duration(least)?..=duration(most)?)
        .filter(|range| !range.is_empty())
        .ok_or_else(|| "expected a range that begins with the shorter time".into())
}

/// A range of the intervals that [`carafe_hub::Heartbeat`] has.
pub(super) fn heartbeat_range(text: &str) -> Result<RangeInclusive<Duration>, String> {
    let range = duration_range(text)?;
    let possible = Duration::from_millis(100)..=Duration::from_secs(600);
    Some(range)
        .filter(|range| possible.contains(range.start()) && possible.contains(range.end()))
        .ok_or_else(|| "expected a range within 100ms..10m, such as 1s..60s".into())
}

/// A limit on a number.
pub(super) fn limit(text: &str) -> Result<usize, String> {
    match text {
        "unlimited" => Ok(usize::MAX),
        _ => text.parse().map_err(|_| "expected a whole number, or unlimited".into()),
    }
}

/// The URL of a hub, as text: requests append to it.
pub(super) fn hub_url(text: &str) -> Result<String, String> {
    const EXAMPLE: &str = "expected one such as http://127.0.0.1:3000";
    let url = Url::parse(text).map_err(|error| format!("{error}; {EXAMPLE}"))?;
    match url.scheme() {
        "http" | "https" => Ok(text.into()),
        scheme => Err(format!("the scheme {scheme} is not supported; {EXAMPLE}")),
    }
}

pub(super) fn public_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let is_plain = |url: &Url| {
        let path = url.path().trim_end_matches('/');
        url.as_str().trim_end_matches('/') == url.origin().ascii_serialization() + path
            && !path.contains(['{', '}', '%'])
    };
    url.filter(is_plain).ok_or_else(|| {
        "expected the URL of the hub without query and fragment, such as https://hub.example.com \
         or https://example.com/sse"
            .into()
    })
}

/// Follows a duration that counts from the end of a topic.
const AFTER_END: &str = " after end";

pub(super) fn retention(text: &str) -> Result<Retention, String> {
    let (topics, age) =
        text.rsplit_once('=').ok_or("expected a pattern and a duration such as sessions/*=1h")?;
    let topics = TopicPattern::new(topics).map_err(|error| error.to_string())?;
    let after_end = age.strip_suffix(AFTER_END);
    let age = positive_duration(after_end.unwrap_or(age))?;
    Ok(Retention::new(topics, age).with_after_end(after_end.is_some()))
}

pub(super) fn matcher(text: &str) -> Result<TopicMatcher, String> {
    TopicMatcher::parse(text).map_err(|error| error.to_string())
}

pub(super) fn segment_bytes(text: &str) -> Result<u32, String> {
    let bytes: Option<ByteSize> = text.parse().ok();
    let bytes = bytes.and_then(|size| u32::try_from(size.as_u64()).ok());
    bytes
        .filter(|bytes| (4 << 10..=2 << 30).contains(bytes))
        .ok_or_else(|| "expected a size from 4KiB to 2GiB, such as 64MiB".into())
}

pub(super) fn log_place(text: &str) -> Result<LogPlace, String> {
    match text.split_once(':') {
        Some(("memory", "")) => Ok(LogPlace::Memory),
        Some(("disk", path)) if !path.is_empty() => Ok(LogPlace::Disk(path.into())),
        _ => Err("expected disk:PATH or memory:".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_from_milliseconds_to_weeks() {
        for (text, seconds) in [
            ("500ms", 0.5),
            ("15s", 15.0),
            ("2m", 120.0),
            ("1h 30m", 5400.0),
            ("30d", 30.0 * 86_400.0),
            ("1w", 7.0 * 86_400.0),
            ("0s", 0.0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in ["", "15", "-15s", "1 month", "1y", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_retention_counts_from_the_event_or_from_the_end_of_its_topic() {
        let parsed = |text| {
            retention(text).map(|Retention { topics, age, after_end, .. }| {
                (topics.as_str().to_owned(), age.as_secs(), after_end)
            })
        };
        assert_eq!(parsed("a/*=1h"), Ok(("a/*".into(), 3600, false)));
        assert_eq!(parsed("a/*=1h 30m after end"), Ok(("a/*".into(), 5400, true)));
        for text in ["a/*=after end", "a/*=1h after", "a/*=1h after end after end", "a/* after end"]
        {
            assert!(parsed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_have_decimal_and_binary_units() {
        for (text, bytes) in
            [("10MB", 10_000_000), ("512KiB", 524_288), ("512", 512), ("1.5GiB", 3 << 29)]
        {
            assert_eq!(text.parse::<ByteSize>().map(|size| size.as_u64()), Ok(bytes), "{text}");
        }
    }
}
