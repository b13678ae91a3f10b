//! A client that publishes to the engine without a hub, in a process of its own.

mod consumer;
mod publisher;

use std::io::Write;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::bench::Bench;
use crate::child::Program;
use crate::outcome::Outcome;
use crate::server::this_program;
use crate::usage;

use super::engine::Engine;
use consumer::Consumer;
use publisher::Publishers;

/// A round may take this long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The line that it prints when it is connected.
const CONNECTED: &str = "connected";

/// One that runs, and waits to be told to begin a round.
pub(crate) struct EngineLoad(Program);

/// What a round was. Its percentiles are in microseconds.
#[derive(Deserialize, Serialize)]
pub(crate) struct Report {
    pub(crate) messages: u64,
    pub(crate) seconds: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// The load's share of its core.
    pub(crate) core: f64,
}

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The servers
    url: String,
    /// Number of connections to publish on
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Number of messages in flight, which the connections share
    #[arg(long, default_value_t = 1)]
    window: usize,
    /// Messages a second, which a consumer on another connection reads
    #[arg(long)]
    rate: Option<u32>,
    /// Size of a message in bytes
    #[arg(long)]
    payload: usize,
    /// Duration of a round
    #[arg(long)]
    seconds: u64,
}

impl EngineLoad {
    /// Starts it; `options` as a person types them.
    pub(crate) fn connected(bench: &Bench, engine: &Engine, options: &str) -> Outcome<Self> {
        let mut command = this_program()?;
        command.args(["engine-load", &engine.servers()]).args(options.split_whitespace());
        let load = Self(Program::start(&command, bench.load)?);
        match load.line()?.as_str() {
            CONNECTED => Ok(load),
            line => Err(format!("the engine's load prints {line:?}").into()),
        }
    }

    pub(crate) fn round(&mut self) -> Outcome<Report> {
        self.0.stdin()?.write_all(b"go\n")?;
        Ok(serde_json::from_str(&self.line()?)?)
    }

    fn line(&self) -> Outcome<String> {
        let line = self.0.next_line(PATIENCE);
        line.map_err(|error| format!("the engine's load: {error}").into())
    }
}

/// The process: a round for each line on standard input.
pub(crate) fn serve(options: &Options) -> Outcome {
    // The client needs one, although nothing here has TLS.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(options))
}

async fn run(options: &Options) -> Outcome {
    let mut kind = Kind::connect(options).await?;
    println!("{CONNECTED}");
    // The connections stand still meanwhile: the parent waits only to read times.
    for line in std::io::stdin().lines() {
        line?;
        println!("{}", serde_json::to_string(&kind.round(options).await?)?);
    }
    Ok(())
}

enum Kind {
    /// As many messages as the engine takes.
    Publishers(Publishers),
    /// Messages at a rate, which are read again.
    Consumer(Box<Consumer>),
}

impl Kind {
    async fn connect(options: &Options) -> Outcome<Self> {
        Ok(match options.rate {
            None => {
                let Options { url, connections, window, .. } = options;
                Self::Publishers(Publishers::connect(url, *connections, *window).await?)
            }
            Some(_) => Self::Consumer(Box::new(Consumer::connect(&options.url).await?)),
        })
    }

    async fn round(&mut self, options: &Options) -> Outcome<Report> {
        let processor = || usage::processor(std::process::id());
        let (start, before) = (Instant::now(), processor()?);
        let time = Duration::from_secs(options.seconds);
        let (messages, mut latencies) = match self {
            Self::Publishers(publishers) => {
                let payload = Bytes::from(vec![b'x'; options.payload]);
                (publishers.round(&payload, start + time).await?, Vec::new())
            }
            Self::Consumer(consumer) => {
                let rate = options.rate.unwrap_or(1);
                let messages = u64::from(rate) * options.seconds;
                let interval = Duration::from_secs(1) / rate;
                (messages, consumer.round(messages, interval, options.payload).await?)
            }
        };
        let seconds = start.elapsed().as_secs_f64();
        latencies.sort_unstable();
        let core = (processor()? - before) as f64 / 1e9 / seconds;
        let [p50, p99] = [50, 99].map(|percent| percentile(&latencies, percent));
        Ok(Report { messages, seconds, p50, p99, core })
    }
}

/// In microseconds; 0 if there are none.
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let place = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(place).map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_that_of_the_sorted_latencies() {
        let latencies: Vec<_> = (1..=200).map(Duration::from_micros).collect();
        assert_eq!([50, 99, 100].map(|p| percentile(&latencies, p).round()), [101.0, 199.0, 200.0]);
        assert_eq!(percentile(&latencies[..1], 99).round(), 1.0);
        assert_eq!(percentile(&[], 50), 0.0);
    }
}
