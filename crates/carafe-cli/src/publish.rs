//! `carafe publish`: publishes an event, or each line of standard input.
//!
//! A thread reads standard input, which cannot be polled, and a task publishes batches of its
//! lines.

use std::io::{self, BufRead, Read};
use std::thread;

use carafe_client::{Publish, PublishError, Publisher};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::cli::PublishOptions;
use crate::failure::Failure;
use crate::output::Output;
use crate::token;

/// The most lines, and about the most bytes, of one batch.
const BATCH_LINES: usize = 1000;
const BATCH_BYTES: usize = 1 << 20;

/// Publishes the data of the command line or of standard input.
pub(crate) async fn publish(options: PublishOptions) -> Result<(), Failure> {
    let mut hub = Publisher::new(options.url.as_str());
    if let Some(token) = token::to_send(options.token_file.as_deref())? {
        hub = hub.with_bearer(&token);
    }
    let mut reporter = Reporter { output: Output::new(), json: options.json };
    match &options.data {
        Some(data) if data != "-" => reporter.publish(&hub, &[options.event(data.clone())]).await,
        _ if options.whole => reporter.publish(&hub, &[options.event(all_of_stdin()?)]).await,
        _ if options.id.is_some() => Err(Failure::usage(
            "an idempotency key applies to one event: give its data as an argument, or --whole to \
             read standard input as one event",
        )),
        _ => publish_lines(&hub, &options, &mut reporter).await,
    }
}

impl PublishOptions {
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
}

#[derive(Serialize)]
struct Published<'a> {
    id: &'a str,
}

impl Reporter {
    async fn publish(&mut self, hub: &Publisher, events: &[Publish]) -> Result<(), Failure> {
        let ids = hub.publish_all(events).await?;
        if self.json {
            ids.iter().try_for_each(|id| self.output.json(&Published { id }))?;
        }
        Ok(())
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::BadUrl { .. } | PublishError::UnsendableToken => Self::usage(error),
            _ => Self::failed(error),
        }
    }
}

/// Publishes each line at once. Lines that arrive during a request form the next batch.
async fn publish_lines(
    hub: &Publisher,
    options: &PublishOptions,
    reporter: &mut Reporter,
) -> Result<(), Failure> {
    let mut lines = lines_of_stdin();
    while let Some(first) = lines.recv().await {
        let (batch, broken) = batch(first, &mut lines);
        let events: Vec<_> = batch.into_iter().map(|line| options.event(line)).collect();
        if !events.is_empty() {
            reporter.publish(hub, &events).await?;
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

fn all_of_stdin() -> Result<String, Failure> {
    let mut data = Vec::new();
    io::stdin().lock().read_to_end(&mut data)?;
    String::from_utf8(data).map_err(|_| {
        Failure::failed("standard input is not UTF-8: encode it, for example as base64")
    })
}
