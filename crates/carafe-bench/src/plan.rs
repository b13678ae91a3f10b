//! The parameters of a run, from its options.

use std::time::Duration;

use crate::error::Error;
use crate::options::Options;

use crate::target::Target;

/// The window with `--rate`, which limits the events in flight by itself.
const UNLIMITED: usize = 1 << 40;

/// The default duration of a round.
const DURATION: Duration = Duration::from_secs(10);

pub(crate) struct Plan {
    pub(crate) stream: Target,
    pub(crate) publish: Target,
    pub(crate) connections: usize,
    pub(crate) stalled: usize,
    pub(crate) topics: usize,
    pub(crate) publishers: usize,
    pub(crate) batch: Option<String>,
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
            (options.connections.get(), options.topics.get(), options.stalled);
        if stalled > connections {
            return Err(Error::Usage(format!(
                "--stalled {stalled} is more than the {connections} connections"
            )));
        }
        let publish = match &options.publish {
            Some(url) => Target::parse(url, &options.header)?,
            None => Target::parse(&options.url, &options.header)?.without_query(),
        };
        Ok(Self {
            stream: Target::parse(&options.url, &options.header)?,
            publish,
            connections,
            stalled,
            topics,
            publishers: options.publishers.get(),
            batch: options.batch.clone(),
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

    /// Whether all events of a topic are published on the same connection, so that they must arrive
    /// in order.
    pub(crate) fn is_ordered(&self) -> bool {
        self.publishers <= self.topics || self.batch.is_some()
    }

    /// The number of events of one POST.
    pub(crate) fn publication(&self) -> usize {
        if self.batch.is_some() { self.topics } else { 1 }
    }
}
