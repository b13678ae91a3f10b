//! The parameters of a run, from its options.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::body::Body;
use crate::error::Error;
use crate::options::Options;

use crate::target::Target;

/// The window with `--rate`, which limits the events in flight by itself.
const UNLIMITED: usize = 1 << 40;

/// The default duration of a round.
const DURATION: Duration = Duration::from_secs(10);

/// The protocol of ALPN for publishing, and for streams without HTTP/2.
const HTTP_1: &str = "http/1.1";

pub(crate) struct Plan {
    pub(crate) stream: Target,
    pub(crate) publish: Target,
    pub(crate) connections: usize,
    /// Streams of each connection, with HTTP/2.
    pub(crate) http2: Option<usize>,
    pub(crate) stalled: usize,
    pub(crate) topics: usize,
    pub(crate) publishers: usize,
    pub(crate) batch: Option<String>,
    /// Events of each topic in a batch.
    pub(crate) batch_size: usize,
    /// Whether events are sent over open requests.
    pub(crate) ingest: bool,
    pub(crate) body: Option<Body>,
    pub(crate) media_type: String,
    pub(crate) payload: usize,
    pub(crate) events: Option<u64>,
    pub(crate) time: Option<Duration>,
    pub(crate) rate: Option<f64>,
    pub(crate) window: usize,
    pub(crate) ramp: Option<f64>,
    pub(crate) reconnects: Option<f64>,
    pub(crate) resumes: bool,
    pub(crate) rounds: usize,
    pub(crate) timeout: Duration,
}

impl Plan {
    pub(crate) fn of(options: &Options) -> Result<Self, Error> {
        let (connections, topics, stalled) =
            (options.connections, options.topics.get(), options.stalled);
        if stalled > connections {
            return Err(Error::Usage(format!(
                "--stalled {stalled} is more than the {connections} connections"
            )));
        }
        let http2 = options.http2.map(NonZeroUsize::get);
        check_http2(options, http2)?;
        check_ingest(options)?;
        let (url, headers) = (&options.url, &options.header);
        let publish_headers = [&headers[..], &options.publish_header].concat();
        let protocol = if http2.is_some() { "h2" } else { HTTP_1 };
        Ok(Self {
            stream: target(options, url, headers, protocol)?,
            publish: match &options.publish {
                Some(url) => target(options, url, &publish_headers, HTTP_1)?,
                None => target(options, url, &publish_headers, HTTP_1)?.without_query(),
            },
            connections,
            http2,
            stalled,
            topics,
            publishers: options.publishers.get(),
            batch: options.batch.clone(),
            batch_size: options.batch_size.get(),
            ingest: options.ingest,
            body: options.body.as_deref().map(Body::parse).transpose()?,
            media_type: options.media_type.clone(),
            payload: options.payload,
            events: options.events,
            time: options
                .duration
                .or_else(|| options.events.is_none_or(|events| events == 0).then_some(DURATION)),
            rate: options.rate,
            window: options.window.unwrap_or(if options.rate.is_some() { UNLIMITED } else { 1 }),
            ramp: options.ramp,
            reconnects: options.reconnects,
            resumes: options.resume || options.reconnects.is_some(),
            rounds: options.rounds,
            timeout: options.timeout,
        })
    }

    /// The number of connections, which have one stream each unless they use HTTP/2.
    pub(crate) fn sockets(&self) -> usize {
        self.connections / self.http2.unwrap_or(1)
    }

    /// Whether all events of a topic are published on the same connection, so that they must arrive
    /// in order.
    pub(crate) fn is_ordered(&self) -> bool {
        // A batch has events of all topics.
        self.publishers <= if self.batch.is_some() { 1 } else { self.topics }
    }

    /// The number of events of one POST.
    pub(crate) fn publication(&self) -> usize {
        if self.batch.is_some() { self.topics * self.batch_size } else { 1 }
    }

    /// Whether an event is in flight until it is acknowledged: there is no stream on which it
    /// could arrive.
    pub(crate) fn only_publishes(&self) -> bool {
        self.connections == 0
    }

    /// The number of requests that a publisher has in flight at most, if there are no streams.
    pub(crate) fn share(&self) -> usize {
        (self.window / self.publication()).div_ceil(self.publishers).max(1)
    }
}

/// An open request is for one topic, and does not acknowledge each event.
fn check_ingest(options: &Options) -> Result<(), Error> {
    let (publishers, topics) = (options.publishers.get(), options.topics.get());
    if options.ingest && options.connections == 0 {
        return Err(Error::Usage("--ingest needs a stream: --connections 0 has none".into()));
    }
    if options.ingest && !publishers.is_multiple_of(topics) {
        return Err(Error::Usage(format!(
            "--ingest with {topics} topics needs as many --publishers, or a multiple of that"
        )));
    }
    Ok(())
}

/// With HTTP/2, streams are opened once.
fn check_http2(options: &Options, streams: Option<usize>) -> Result<(), Error> {
    let Some(streams) = streams else { return Ok(()) };
    if !options.connections.is_multiple_of(streams) {
        return Err(Error::Usage(format!(
            "--connections {} is not a multiple of --http2 {streams}",
            options.connections
        )));
    }
    if options.resume || options.reconnects.is_some() || options.stalled > 0 {
        return Err(Error::Usage(
            "--http2 cannot be combined with --resume, --reconnects or --stalled".into(),
        ));
    }
    if !options.header.is_empty() {
        return Err(Error::Usage("--http2 cannot be combined with --header".into()));
    }
    Ok(())
}

#[cfg(feature = "tls")]
fn target(
    options: &Options,
    url: &str,
    headers: &[String],
    protocol: &str,
) -> Result<Target, Error> {
    let tickets = options.tls_tickets;
    let trust = options.ca.as_ref().map(|file| crate::tls::Trust::new(file, protocol, tickets));
    Target::parse(url, headers, trust.transpose()?.as_ref())
}

#[cfg(not(feature = "tls"))]
fn target(
    _options: &Options,
    url: &str,
    headers: &[String],
    _protocol: &str,
) -> Result<Target, Error> {
    Target::parse(url, headers, None)
}
