//! `carafe publish`: publishes an event, or each line of standard input.
//!
//! A thread reads standard input, which cannot be polled, and a task publishes batches of its
//! lines.

use std::fs;
use std::future::ready;
use std::io::{self, BufRead, Read};
use std::thread;
use std::time::Duration;

use carafe_client::{Publish, Publisher, PublisherError};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::cli::PublishOptions;
use crate::failure::{Failure, START_A_HUB};
use crate::outage::Outage;
use crate::output::Output;
use crate::token;

/// The most lines, and about the most bytes, of one batch.
const BATCH_LINES: usize = 1000;
const BATCH_BYTES: usize = 1 << 20;

/// Publishes the data of the command line or of standard input.
pub(crate) async fn publish(options: PublishOptions) -> Result<(), Failure> {
    let outage = Outage::default();
    let mut hub = Publisher::new(options.hub.url.as_str()).on_retry({
        let outage = outage.clone();
        move |reason| outage.report(reason, "trying again")
    });
    if let Some(token) = token::to_send(options.hub.token_file.as_deref())? {
        hub = match options.hub.token_file.clone() {
            // Read again for each request, because the token in it may have been replaced.
            Some(file) => hub.with_bearer_from(move |_| ready(token::read_again(&file))),
            None => hub.with_bearer(&token),
        };
    }
    if let Some(timeout) = options.timeout {
        hub = hub.with_timeout(timeout);
    }
    if options.no_retry {
        hub = hub.without_retry();
    }
    let (output, json, batch_lines) = (Output::new(), options.json, BATCH_LINES);
    let mut reporter = Reporter { output, json, outage, batch_lines };
    match options.event_data()? {
        Some(data) => reporter.publish_one(&hub, &options.event(data)).await,
        None if options.id.is_some() => Err(Failure::usage(
            "an idempotency key applies to one event: give its data as an argument, or --whole to \
             read standard input as one event",
        )),
        None => publish_lines(&hub, &options, &mut reporter).await,
    }
}

impl PublishOptions {
    /// The data of the only event; `None` if each line of standard input is an event.
    fn event_data(&self) -> Result<Option<String>, Failure> {
        match self.data.as_deref() {
            Some("-") | None if self.whole => all_of_stdin().map(Some),
            Some("-") | None => Ok(None),
            Some("@-") => all_of_stdin().map(Some),
            Some(data) => literal_or_file(data).map(Some),
        }
    }

    fn event(&self, data: String) -> Publish {
        let mut event = Publish::to(self.topic.as_str(), data).with_private(self.private);
        if let Some(event_type) = &self.event {
            event = event.with_type(event_type.as_str());
        }
        if let Some(key) = &self.id {
            event = event.with_key(key.as_str());
        }
        event
    }
}

/// Publishes, and prints the hub's responses if `--json` is given.
struct Reporter {
    output: Output,
    json: bool,
    outage: Outage,
    /// The most lines of a batch that the hub takes, as far as is known.
    batch_lines: usize,
}

#[derive(Serialize)]
struct Published<'a> {
    id: &'a str,
}

impl Reporter {
    async fn publish_one(&mut self, hub: &Publisher, event: &Publish) -> Result<(), Failure> {
        let id = hub.publish(event).await?;
        self.published(&[id])
    }

    /// Publishes lines in order. A batch that is larger than the hub allows (413) is divided, and
    /// later batches are not larger.
    async fn publish_lines(
        &mut self,
        hub: &Publisher,
        mut lines: &[Publish],
    ) -> Result<(), Failure> {
        while !lines.is_empty() {
            let (batch, rest) = lines.split_at(lines.len().min(self.batch_lines));
            match hub.publish_all(batch).await {
                Err(PublisherError::Refused { status: 413, .. }) if batch.len() > 1 => {
                    self.batch_lines = batch.len().div_ceil(2);
                }
                outcome => {
                    self.published(&outcome?)?;
                    lines = rest;
                }
            }
        }
        Ok(())
    }

    fn published(&mut self, ids: &[String]) -> Result<(), Failure> {
        self.outage.end("published");
        if self.json {
            ids.iter().try_for_each(|id| self.output.json(&Published { id }))?;
        }
        Ok(())
    }
}

impl From<PublisherError> for Failure {
    fn from(error: PublisherError) -> Self {
        match error {
            PublisherError::BadUrl { .. } | PublisherError::UnsendableToken => Self::usage(error),
            PublisherError::Unreachable { .. } => Self::failed(format!("{error}; {START_A_HUB}")),
            _ => Self::failed(error),
        }
    }
}

/// Publishes each line at once, and without a time limit unless there is an option for it: who
/// feeds the pipe may not be able to repeat a line. Lines that arrive during a request form the
/// next batch.
async fn publish_lines(
    hub: &Publisher,
    options: &PublishOptions,
    reporter: &mut Reporter,
) -> Result<(), Failure> {
    let hub = hub.clone().with_timeout(options.timeout.unwrap_or(Duration::MAX));
    let mut lines = lines_of_stdin();
    while let Some(first) = lines.recv().await {
        let (batch, broken) = batch(first, &mut lines);
        let events: Vec<_> = batch.into_iter().map(|line| options.event(line)).collect();
        if !events.is_empty() {
            reporter.publish_lines(&hub, &events).await?;
        }
        broken?;
    }
    Ok(())
}

/// The lines that have arrived. A line that cannot be read ends the batch; the lines before it are
/// still published.
fn batch(first: Line, lines: &mut mpsc::Receiver<Line>) -> (Vec<String>, Result<(), Failure>) {
    let (mut batch, mut bytes, mut next) = (Vec::new(), 0, Some(first));
    while let Some(line) = next {
        match line {
            Ok(line) => {
                bytes += line.len();
                batch.push(line);
            }
            Err(failure) => return (batch, Err(failure)),
        }
        let full = batch.len() >= BATCH_LINES || bytes >= BATCH_BYTES;
        next = if full { None } else { lines.try_recv().ok() };
    }
    (batch, Ok(()))
}

type Line = Result<String, Failure>;

/// Starts a thread that reads lines.
fn lines_of_stdin() -> mpsc::Receiver<Line> {
    let (sender, lines) = mpsc::channel(BATCH_LINES);
    thread::spawn(move || {
        for (number, line) in (1..).zip(io::stdin().lock().split(b'\n')) {
            let line = line.map_err(Failure::from).and_then(|line| text(line, number));
            let broken = line.is_err();
            if sender.blocking_send(line).is_err() || broken {
                return;
            }
        }
    });
    lines
}

/// A line without its end, which Windows programs write as CRLF.
fn text(mut line: Vec<u8>, number: usize) -> Line {
    line.pop_if(|last| *last == b'\r');
    String::from_utf8(line).map_err(|_| {
        Failure::failed(format!("line {number} is not UTF-8: the lines before it were published"))
    })
}

/// Data as it is, or `@FILE`. With `@@`, the data begins with an `@`.
fn literal_or_file(data: &str) -> Result<String, Failure> {
    match data.strip_prefix('@') {
        None => Ok(data.into()),
        Some(literal) if literal.starts_with('@') => Ok(literal.into()),
        Some(path) => fs::read_to_string(path).map_err(|error| {
            Failure::usage(format!(
                "cannot read {path}: {error}; to publish data that begins with @, write @@"
            ))
        }),
    }
}

fn all_of_stdin() -> Result<String, Failure> {
    let mut data = Vec::new();
    io::stdin().lock().read_to_end(&mut data)?;
    String::from_utf8(data).map_err(|_| {
        Failure::failed("standard input is not UTF-8: encode it, for example as base64")
    })
}
