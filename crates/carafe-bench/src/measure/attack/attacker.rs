//! One client that means harm.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::wire;

/// How long an attacker waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Attacker<'a> {
    pub(crate) hub: SocketAddr,
    pub(crate) kind: u8,
    pub(crate) number: u8,
    pub(crate) token: Option<&'a str>,
    pub(crate) until: Instant,
    pub(crate) tally: &'a Tally,
    /// Attempts so far.
    pub(crate) done: u64,
}

/// What became of the attempts of all attackers of a kind.
#[derive(Default)]
pub(crate) struct Tally(Mutex<(u64, BTreeMap<String, u64>)>);

impl Tally {
    pub(crate) fn into_parts(self) -> (u64, BTreeMap<String, u64>) {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attacker<'_> {
    /// Whether there is time for another attempt, which then counts.
    pub(crate) fn goes_on(&mut self) -> bool {
        if self.is_over() {
            return false;
        }
        self.done += 1;
        self.tally.0.lock().unwrap_or_else(PoisonError::into_inner).0 += 1;
        true
    }

    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Counts what the hub did.
    pub(crate) fn count(&self, outcome: impl Into<String>) {
        let mut tally = self.tally.0.lock().unwrap_or_else(PoisonError::into_inner);
        *tally.1.entry(outcome.into()).or_default() += 1;
    }

    /// A rate that this machine can sustain, or the rest of the time.
    pub(crate) fn pause(&self, time: Duration) {
        thread::sleep(time.min(self.until.saturating_duration_since(Instant::now())));
    }

    pub(crate) fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(127, 64, self.kind, self.number + 1)
    }

    /// Connects, or waits a moment.
    pub(crate) fn connect(&self) -> Option<TcpStream> {
        match wire::connect(self.address(), self.hub, PATIENCE) {
            Ok(stream) => Some(stream),
            Err(error) => {
                self.count(format!("no connection: {}", outcome(&error)));
                self.pause(Duration::from_millis(100));
                None
            }
        }
    }

    /// The header that has the token, if there is one.
    pub(crate) fn authorization(&self) -> Option<String> {
        self.token.map(|token| format!("Bearer {token}"))
    }

    /// Sends a request on a connection of its own, reads up to so many bytes of what comes, and
    /// counts the answer.
    pub(crate) fn ask(
        &self,
        target: &str,
        headers: &[(&str, &str)],
        bytes: usize,
    ) -> Option<Vec<u8>> {
        let mut stream = self.connect()?;
        if let Err(error) = stream.write_all(wire::get(target, headers).as_bytes()) {
            self.count(outcome(&error));
            return None;
        }
        self.count_answer(&mut stream);
        let mut read = vec![0; 16 << 10];
        let (mut all, end) = (Vec::new(), Instant::now() + PATIENCE);
        while all.len() < bytes && Instant::now() < end.min(self.until) {
            match stream.read(&mut read) {
                Ok(count) if count > 0 => all.extend_from_slice(&read[..count]),
                _ => break,
            }
        }
        Some(all)
    }

    /// Reads the head of an answer, and counts its status. Whether there was one.
    pub(crate) fn count_answer(&self, stream: &mut TcpStream) -> bool {
        match wire::answer_head(stream) {
            Ok((head, _)) => {
                self.count(head.split(' ').nth(1).unwrap_or("no status"));
                true
            }
            Err(error) => {
                self.count(outcome(&error));
                false
            }
        }
    }

    /// Drops the connections that the hub has closed, and counts them.
    pub(crate) fn drop_closed(&mut self, open: &mut Vec<TcpStream>) {
        let before = open.len();
        open.retain(|stream| !Self::is_closed(stream));
        (open.len()..before).for_each(|_| self.count("closed"));
    }

    /// Whether the other end has closed, without waiting.
    pub(crate) fn is_closed(stream: &TcpStream) -> bool {
        let _ = stream.set_nonblocking(true);
        let closed = match stream.peek(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        };
        let _ = stream.set_nonblocking(false);
        closed
    }
}

/// What an answer that did not come was instead.
pub(crate) fn outcome(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "no answer in time",
        ErrorKind::UnexpectedEof => "closed",
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "reset",
        _ => "failed",
    }
}
