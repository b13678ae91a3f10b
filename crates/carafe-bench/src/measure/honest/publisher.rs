//! A publisher, which sends the next event once the previous one is acknowledged.

use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::run_state::RunState;
use super::seen::PUBLISHERS;
use crate::outcome::Outcome;
use crate::wire;

/// How often it publishes.
const INTERVAL: Duration = Duration::from_millis(200);

/// How long it waits for an answer before it tries again, and how long it tries.
const ANSWER: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(120);

/// How long it waits after an answer that says to try again, or none.
const AGAIN: Duration = Duration::from_millis(50);

pub(super) struct Publisher {
    state: Arc<RunState>,
    number: usize,
    authorization: String,
    socket: Option<TcpStream>,
    published: Published,
}

/// What was published, of all publishers or of one.
#[derive(Default)]
pub(crate) struct Published {
    /// When each event was first sent, and how long it took until it was acknowledged.
    pub(crate) latencies: Vec<(Instant, Duration)>,
    /// Responses that ask to retry, by status, and connections that ended without a response.
    pub(crate) refused: u64,
    pub(crate) cut: u64,
}

impl Published {
    pub(super) fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.refused += other.refused;
        self.cut += other.cut;
    }

    /// Seconds until an acknowledgement, in rising order, of events first sent between these two
    /// moments.
    pub(crate) fn between(&self, start: Instant, end: Instant) -> Vec<f64> {
        let within = self.latencies.iter().filter(|(sent, _)| (start..end).contains(sent));
        let mut all: Vec<_> = within.map(|(_, latency)| latency.as_secs_f64()).collect();
        all.sort_unstable_by(f64::total_cmp);
        all
    }
}

impl Publisher {
    pub(super) fn new(state: Arc<RunState>, number: usize, token: &str) -> Self {
        let authorization = format!("Bearer {token}");
        Self { state, number, authorization, socket: None, published: Published::default() }
    }

    /// Publishes until the run ends.
    pub(super) fn run(&mut self) -> Result<Published, String> {
        let mut due = Instant::now() + INTERVAL.mul_f64(self.number as f64 / PUBLISHERS as f64);
        for event in 1.. {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if self.state.published.load(Ordering::Relaxed) {
                break;
            }
            let start = Instant::now();
            self.publish(event)?;
            self.published.latencies.push((start, start.elapsed()));
            self.state.acknowledged[self.number].store(event, Ordering::Relaxed);
            due = (due + INTERVAL).max(Instant::now());
        }
        Ok(std::mem::take(&mut self.published))
    }

    /// Tries until the event is acknowledged. By its key, it is stored once.
    fn publish(&mut self, event: u64) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        let target = format!("/events/honest/{0}?id={0}-{event}", self.number);
        let body = format!("{} {event}", self.number);
        while Instant::now() < deadline {
            match self.send(&target, body.as_bytes()) {
                Ok(answer) if matches!(answer.status, 200 | 201) => return Ok(()),
                Ok(answer) if matches!(answer.status, 408 | 429 | 503) => {
                    self.published.refused += 1;
                }
                Ok(answer) => {
                    let detail = String::from_utf8_lossy(&answer.body).into_owned();
                    return Err(format!("a publisher was answered {}: {detail}", answer.status));
                }
                Err(_) => {
                    self.published.cut += 1;
                    self.socket = None;
                }
            }
            thread::sleep(AGAIN);
        }
        Err(format!(
            "event {event} of publisher {} was not acknowledged within {PATIENCE:?}",
            self.number
        ))
    }

    fn send(&mut self, target: &str, body: &[u8]) -> std::io::Result<wire::Answer> {
        if self.socket.is_none() {
            let from = Ipv4Addr::new(127, 32, 0, self.number as u8 + 1);
            self.socket = Some(wire::connect(from, self.state.hub, ANSWER)?);
        }
        let Some(socket) = &mut self.socket else {
            return Err(std::io::ErrorKind::NotConnected.into());
        };
        let answer = wire::post(socket, target, &[("Authorization", &self.authorization)], body)?;
        if answer.closes {
            self.socket = None;
        }
        Ok(answer)
    }
}

/// A token that grants publishing to these topics.
pub(crate) fn token(carafe: &Path, secret: &Path, subject: &str, topics: &str) -> Outcome<String> {
    let mut command = Command::new(carafe);
    command.args([
        "token",
        "--ttl",
        "2h",
        "--subject",
        subject,
        "--publish",
        topics,
        "--secret-file",
    ]);
    let output = command.arg(secret).output()?;
    let token = String::from_utf8(output.stdout)?.trim().to_owned();
    if token.is_empty() { Err(String::from_utf8(output.stderr)?.into()) } else { Ok(token) }
}
