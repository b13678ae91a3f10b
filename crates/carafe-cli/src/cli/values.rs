//! Parsers of option values.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use carafe_hub::Retention;
use carafe_protocol::TopicPattern;
use url::Url;

/// Where events are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LogPlace {
    Memory,
    Disk(PathBuf),
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration: Option<jiff::SignedDuration> = text.parse().ok();
    duration
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| "expected a duration such as 500ms, 15s or 2m".into())
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

pub(super) fn public_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let is_origin =
        |url: &Url| url.origin().ascii_serialization() == url.as_str().trim_end_matches('/');
    url.filter(is_origin)
        .ok_or_else(|| "expected an origin without a path, such as https://hub.example.com".into())
}

pub(super) fn retention(text: &str) -> Result<Retention, String> {
    let (topics, age) =
        text.rsplit_once('=').ok_or("expected a pattern and a duration such as sessions/*=1h")?;
    let topics = TopicPattern::new(topics).map_err(|error| error.to_string())?;
    Ok(Retention::new(topics, positive_duration(age)?))
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
