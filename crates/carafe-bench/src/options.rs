//! The options of `carafe bench`.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Args;

/// The options of `carafe bench`.
#[derive(Args, Debug)]
pub struct Options {
    /// The stream, such as http://127.0.0.1:3000/events/bench. In it {topic} stands for the number
    /// of a topic, and {connection} for that of a connection
    pub url: String,
    /// Streams to open
    #[arg(long, short, default_value = "1000", value_name = "N")]
    pub connections: NonZeroUsize,
    /// Topics that the streams take turns at
    #[arg(long, default_value = "1", value_name = "N")]
    pub topics: NonZeroUsize,
    /// Where to POST events [default: the stream's URL without its query]
    #[arg(long, value_name = "URL")]
    pub publish: Option<String>,
    /// Publish batches as NDJSON, an event to each topic of this name, such as bench/{topic}
    #[arg(long, value_name = "TOPIC")]
    pub batch: Option<String>,
    /// A header of every request, such as 'Authorization: Bearer …'; may be repeated
    #[arg(long, value_name = "HEADER", value_parser = header)]
    pub header: Vec<String>,
    /// Events to publish in a round; 0 publishes none
    #[arg(long, short = 'n', value_name = "N")]
    pub events: Option<u64>,
    /// How long a round publishes [default: 10s, or until all events are published]
    #[arg(long, value_name = "TIME", value_parser = positive_duration)]
    pub duration: Option<Duration>,
    /// Events to publish a second
    #[arg(long, value_name = "N", value_parser = rate)]
    pub rate: Option<f64>,
    /// Events that may be on their way: another is published when one has come back on all streams
    /// [default: 1, any number with --rate]
    #[arg(long, value_name = "N")]
    pub window: Option<usize>,
    /// Size of an event's data
    #[arg(long, default_value = "128", value_name = "BYTES")]
    pub payload: usize,
    /// Streams to open a second [default: as many as the server accepts]
    #[arg(long, value_name = "N", value_parser = rate)]
    pub ramp: Option<f64>,
    /// Come back with the last event ID when a stream is lost, as EventSource does; without it that
    /// is a fault
    #[arg(long)]
    pub resume: bool,
    /// Streams to leave each second, coming back with the last event ID
    #[arg(long, value_name = "N", value_parser = rate)]
    pub reconnects: Option<f64>,
    /// Streams that are not read; with --resume, they come back at the end and must get everything
    #[arg(long, default_value = "0", value_name = "N")]
    pub stalled: usize,
    /// How often to publish and report
    #[arg(long, default_value = "1", value_name = "N")]
    pub rounds: usize,
    /// How long to wait while nothing comes
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = positive_duration)]
    pub timeout: Duration,
    /// Report as JSON
    #[arg(long)]
    pub json: bool,
    /// Tell each stage as JSON, and wait for a line of standard input before the next
    #[arg(long)]
    pub stages: bool,
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration: Option<jiff::SignedDuration> = text.parse().ok();
    duration
        .and_then(|duration| Duration::try_from(duration).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "write a time above zero, such as 500ms, 15s or 2m".into())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: Option<f64> = text.parse().ok();
    rate.filter(|rate| *rate >= 0.001 && *rate <= 1e9)
        .ok_or_else(|| "write a number a second, such as 100".into())
}

fn header(text: &str) -> Result<String, String> {
    let name = text.split_once(": ").map(|(name, _)| name);
    name.filter(|name| !name.is_empty() && !text.contains(['\r', '\n']))
        .map(|_| text.into())
        .ok_or_else(|| "write a header such as 'Authorization: Bearer …'".into())
}
