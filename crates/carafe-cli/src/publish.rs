//! `carafe publish`.

use std::io::{self, BufRead, Read};
use std::thread;

use carafe_client::{Publish, PublishError, Publisher};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::cli::PublishOptions;
use crate::failure::Failure;
use crate::output::Output;
use crate::token;

/// How many lines, and about how many bytes of them, are published at once when they are there
/// already.
const BATCH_LINES: usize = 1000;
const BATCH_BYTES: usize = 1 << 20;

/// Publishes what the command line or standard input gives.
pub(crate) async fn publish(options: PublishOptions) -> Result<(), Failure> {
    let mut hub = Publisher::new(options.url.as_str());
    if let Some(token) = token::to_send(options.token_file.as_deref())? {
        hub = hub.with_bearer(&token);
    }
    let mut told = Told { output: Output::new(), json: options.json };
    match &options.data {
        Some(data) if data != "-" => told.publish(&hub, &[options.event(data.clone())]).await,
        _ if options.whole => told.publish(&hub, &[options.event(all_of_stdin()?)]).await,
        _ if options.id.is_some() => Err(Failure::usage(
            "an idempotency key names one event: give its data as an argument, or --whole to take \
             all of standard input as one",
        )),
        _ => publish_lines(&hub, &options, &mut told).await,
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

/// What the hub answered, for who wants to read it.
struct Told {
    output: Output,
    json: bool,
}

#[derive(Serialize)]
struct Published<'a> {
    id: &'a str,
}

impl Told {
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

/// Publishes each line when it comes; lines that came meanwhile go together.
async fn publish_lines(
    hub: &Publisher,
    options: &PublishOptions,
    told: &mut Told,
) -> Result<(), Failure> {
    let mut lines = lines_of_stdin();
    while let Some(first) = lines.recv().await {
        let (batch, broken) = batch(first, &mut lines);
        let events: Vec<_> = batch.into_iter().map(|line| options.event(line)).collect();
        if !events.is_empty() {
            told.publish(hub, &events).await?;
        }
        broken?;
    }
    Ok(())
}

/// The lines that are there already. What cannot be read ends it; the lines before are good.
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

/// Reads lines on a thread of its own, since standard input cannot be polled.
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
        Failure::failed(format!("line {number} is not UTF-8; the lines before it were published"))
    })
}

fn all_of_stdin() -> Result<String, Failure> {
    let mut data = Vec::new();
    io::stdin().lock().read_to_end(&mut data)?;
    String::from_utf8(data).map_err(|_| {
        Failure::failed("standard input is not UTF-8; encode it, for example by base64")
    })
}
