//! The options of `carafe bench`.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Args;

/// The options of `carafe bench`.
#[allow(rustdoc::bare_urls, reason = "the texts are help on the command line, too")]
#[derive(Args, Debug)]
pub struct Options {
    /// URL of the stream, such as http://127.0.0.1:3000/events/bench. {topic} and {connection} are
    /// replaced by the number of the topic and of the connection
    pub url: String,
    /// Number of streams to open. With 0, an event is in flight until it is acknowledged
    #[arg(long, short, default_value = "1000", value_name = "N")]
    pub connections: usize,
    /// Use HTTP/2 with this many streams per connection
    #[arg(long, value_name = "STREAMS")]
    pub http2: Option<NonZeroUsize>,
    /// PEM file with the certificates to trust, for https
    #[cfg(feature = "tls")]
    #[arg(long, value_name = "FILE")]
    pub ca: Option<std::path::PathBuf>,
    /// Resume TLS sessions, as browsers do; without this, each connection has a full handshake
    #[cfg(feature = "tls")]
    #[arg(long)]
    pub tls_tickets: bool,
    /// Number of topics; the streams are spread over them
    #[arg(long, default_value = "1", value_name = "N")]
    pub topics: NonZeroUsize,
    /// URL to POST events to [default: the stream's URL without its query]
    #[arg(long, value_name = "URL")]
    pub publish: Option<String>,
    /// Body of a POST, with {topic} and {data} for the event [default: the event's data alone]
    #[arg(long, value_name = "TEMPLATE", conflicts_with = "batch")]
    pub body: Option<String>,
    /// Media type of the body of a POST
    #[arg(long, value_name = "TYPE", default_value = "text/plain; charset=utf-8")]
    pub media_type: String,
    /// Header for every POST. May be repeated
    #[arg(long, value_name = "HEADER", value_parser = header)]
    pub publish_header: Vec<String>,
    /// Number of connections to publish on. The events of a topic use one connection if there are
    /// as many topics; otherwise they may arrive in any order
    #[arg(long, default_value = "1", value_name = "N")]
    pub publishers: NonZeroUsize,
    /// Publish NDJSON batches with one event for each topic; the name of the topics, such as
    /// bench/{topic}
    #[arg(long, value_name = "TOPIC")]
    pub batch: Option<String>,
    /// Number of events of each topic in a batch
    #[arg(long, default_value = "1", value_name = "N", requires = "batch")]
    pub batch_size: NonZeroUsize,
    /// Publish over open requests, one for each publisher, which are answered at their end
    #[arg(long, conflicts_with_all = ["batch", "body", "media_type"])]
    pub ingest: bool,
    /// Header for every request, such as 'Authorization: Bearer …'. May be repeated
    #[arg(long, value_name = "HEADER", value_parser = header)]
    pub header: Vec<String>,
    /// Number of events to publish in a round; 0 publishes none
    #[arg(long, short = 'n', value_name = "N")]
    pub events: Option<u64>,
    /// Duration of publishing in a round [default: 10s, or until --events are published]
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub duration: Option<Duration>,
    /// Number of events to publish per second
    #[arg(long, value_name = "N", value_parser = rate)]
    pub rate: Option<f64>,
    /// Maximum number of events in flight: the next is published when one has arrived on all
    /// streams [default: 1, unlimited with --rate]. Without streams, publishers share it evenly
    #[arg(long, value_name = "N")]
    pub window: Option<usize>,
    /// Size of an event's data in bytes
    #[arg(long, default_value = "128", value_name = "BYTES")]
    pub payload: usize,
    /// Number of streams to open per second [default: as many as the server accepts]
    #[arg(long, value_name = "N", value_parser = rate)]
    pub ramp: Option<f64>,
    /// Reconnect with the last event ID when a stream ends, as EventSource does; without this, the
    /// end of a stream is a fault
    #[arg(long)]
    pub resume: bool,
    /// Number of streams per second to close and reopen with the last event ID
    #[arg(long, value_name = "N", value_parser = rate)]
    pub reconnects: Option<f64>,
    /// Number of streams that stop reading; with --resume they reconnect at the end and must
    /// receive everything
    #[arg(long, default_value = "0", value_name = "N")]
    pub stalled: usize,
    /// Number of rounds, each with its own report
    #[arg(long, default_value = "1", value_name = "N")]
    pub rounds: usize,
    /// Give up after this long without progress
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = positive_duration)]
    pub timeout: Duration,
    /// Print reports as JSON
    #[arg(long)]
    pub json: bool,
    /// Print each stage as JSON, and wait for a line on standard input before the next
    #[arg(long)]
    pub stages: bool,
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration: Option<jiff::SignedDuration> = text.parse().ok();
    duration
        .and_then(|duration| Duration::try_from(duration).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "expected a duration above zero, such as 500ms, 15s or 2m".into())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: Option<f64> = text.parse().ok();
    rate.filter(|rate| *rate >= 0.001 && *rate <= 1e9)
        .ok_or_else(|| "expected a number per second, such as 100".into())
}

fn header(text: &str) -> Result<String, String> {
    let name = text.split_once(": ").map(|(name, _)| name);
    name.filter(|name| !name.is_empty() && !text.contains(['\r', '\n']))
        .map(|_| text.into())
        .ok_or_else(|| "expected a header such as 'Authorization: Bearer …'".into())
}
