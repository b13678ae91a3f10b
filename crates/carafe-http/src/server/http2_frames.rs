//! Parses the frame headers of an HTTP/2 connection, and keeps the budget of control frames.
//!
//! hyper answers or applies every PING, SETTINGS and PRIORITY frame. A client needs few of them,
//! besides those that the server's own frames explain: two WINDOW_UPDATE frames for a DATA frame,
//! one for the stream and one for the connection. Rapid resets, long chains of CONTINUATION and
//! tiny DATA frames are limited by h2.

use std::time::Duration;

use tokio::time::Instant;

/// Unexplained frames that a client may send each second, and at once.
const A_SECOND: u32 = 100;
const AT_ONCE: u32 = 1000;

/// The connection preface of a client (RFC 9113, 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types (RFC 9113, 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;

/// Flags of DATA, and of SETTINGS and PING.
const END_STREAM: u8 = 1;
const ACK: u8 = 1;

/// The header of a frame, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    length: u32,
    kind: u8,
    flags: u8,
}

/// The length of a frame header.
const HEAD: usize = 9;

/// Finds the frames in one direction of a connection, in whatever pieces the bytes come.
#[derive(Default)]
pub(crate) struct FrameScanner {
    head: [u8; HEAD],
    /// Bytes of the current header that were seen.
    seen: usize,
    /// Bytes of the current payload that were not seen yet.
    left: usize,
}

impl FrameScanner {
    /// Whether the next byte begins a frame.
    pub(crate) fn is_between(&self) -> bool {
        self.seen == 0 && self.left == 0
    }

    /// Passes bytes, and reports each frame whose header ends in them.
    pub(crate) fn pass(&mut self, mut bytes: &[u8], mut each: impl FnMut(Head)) {
        loop {
            let payload = self.left.min(bytes.len());
            self.left -= payload;
            bytes = &bytes[payload..];
            if bytes.is_empty() {
                return;
            }
            let taken = (HEAD - self.seen).min(bytes.len());
            self.head[self.seen..self.seen + taken].copy_from_slice(&bytes[..taken]);
            (self.seen, bytes) = (self.seen + taken, &bytes[taken..]);
            if self.seen < HEAD {
                return;
            }
            let [a, b, c, kind, flags, ..] = self.head;
            // 24 bits (RFC 9113, 4.1). The rest of the header, the stream, does not matter.
            let length = u32::from_be_bytes([0, a, b, c]);
            (self.seen, self.left) = (0, length as usize);
            each(Head { length, kind, flags });
        }
    }
}

/// How many unexplained frames a client may still send.
pub(crate) struct Budget {
    frames: u32,
    /// When the budget was last refilled.
    filled: Instant,
}

impl Budget {
    pub(crate) fn new() -> Self {
        Self { frames: AT_ONCE, filled: Instant::now() }
    }

    /// The client has sent this frame; `false` if it exceeds the budget.
    pub(crate) fn received(&mut self, frame: Head) -> bool {
        match frame.kind {
            // A request explains a few frames: its reset, its priority.
            HEADERS => self.earn(1),
            DATA if frame.length > 0 || frame.flags & END_STREAM != 0 => {}
            _ => return self.spend(),
        }
        true
    }

    /// The server has sent this frame, which explains some of the client's.
    pub(crate) fn sent(&mut self, frame: Head) {
        match frame.kind {
            DATA => self.earn(2),
            SETTINGS | PING if frame.flags & ACK == 0 => self.earn(1),
            _ => {}
        }
    }

    fn earn(&mut self, frames: u32) {
        // Cannot overflow: the sum is at most `AT_ONCE` plus two.
        self.frames = (self.frames + frames).min(AT_ONCE);
    }

    fn spend(&mut self) -> bool {
        // Refilled only when it is empty, so that most frames do not read the clock.
        if self.frames == 0 {
            self.fill_up();
        }
        let left = self.frames.checked_sub(1);
        self.frames = left.unwrap_or(0);
        left.is_some()
    }

    fn fill_up(&mut self) {
        let frame = Duration::from_secs(1) / A_SECOND;
        let due = self.filled.elapsed().as_nanos() / frame.as_nanos();
        let due = u32::try_from(due).unwrap_or(AT_ONCE).min(AT_ONCE);
        if due > 0 {
            (self.frames, self.filled) = (due, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const WINDOW_UPDATE: u8 = 8;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let [_, a, b, c] = (payload as u32).to_be_bytes();
        [&[a, b, c, kind, flags, 0, 0, 0, 1][..], &vec![0xff; payload]].concat()
    }

    fn head(kind: u8, length: u32) -> Head {
        Head { length, kind, flags: 0 }
    }

    #[test]
    fn frames_are_found_in_every_possible_split() {
        let frames = [(PING, ACK, 8), (DATA, 0, 300), (SETTINGS, 0, 0), (0xfa, 7, 1)];
        let bytes: Vec<u8> = frames
            .iter()
            .flat_map(|(kind, flags, payload)| frame(*kind, *flags, *payload))
            .collect();
        let expected =
            frames.map(|(kind, flags, payload)| Head { length: payload as u32, kind, flags });
        for size in 1..bytes.len() {
            let (mut passed, mut found) = (FrameScanner::default(), Vec::new());
            bytes.chunks(size).for_each(|part| passed.pass(part, |head| found.push(head)));
            assert_eq!((&found[..], passed.is_between()), (&expected[..], true), "{size}");
        }
        let mut passed = FrameScanner::default();
        passed.pass(&bytes[..HEAD + 3], |_| {});
        assert!(!passed.is_between());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_may_send_so_many_at_once_and_so_many_a_second() {
        for kind in [2, 3, SETTINGS, PING, WINDOW_UPDATE, 9, 16, 0xfa] {
            let mut budget = Budget::new();
            let mut send = |count| (0..count).filter(|_| budget.received(head(kind, 8))).count();
            assert_eq!(send(2 * AT_ONCE), AT_ONCE as usize, "{kind}");
            for _ in 0..3 {
                advance(Duration::from_secs(1)).await;
                assert_eq!(send(AT_ONCE), A_SECOND as usize);
            }
            advance(Duration::from_secs(600)).await;
            assert_eq!(send(2 * AT_ONCE), AT_ONCE as usize);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_explained_by_answers_and_requests_costs_nothing() {
        let mut budget = Budget::new();
        for _ in 0..100 * AT_ONCE {
            budget.sent(head(DATA, 100));
            assert!(
                budget.received(head(WINDOW_UPDATE, 4)) && budget.received(head(WINDOW_UPDATE, 4))
            );
            budget.sent(head(PING, 8));
            assert!(budget.received(Head { flags: ACK, ..head(PING, 8) }));
            assert!(
                budget.received(head(HEADERS, 50)) && budget.received(head(3, 4)),
                "a request, reset"
            );
            assert!(budget.received(head(DATA, 1)), "a part of a body");
            assert!(budget.received(Head { flags: END_STREAM, ..head(DATA, 0) }), "its end");
        }
        let empty = (0..2 * AT_ONCE).filter(|_| budget.received(head(DATA, 0))).count() as u32;
        assert!((AT_ONCE - 2..=AT_ONCE).contains(&empty), "{empty}");
    }
}
