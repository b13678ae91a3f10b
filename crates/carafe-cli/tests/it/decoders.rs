//! The decoders of both clients, and that of Chromium, on the same streams, generated and cut at
//! random.

use std::io::Write;
use std::process::Command;
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use carafe_protocol::{Decoder, Received};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::clients::{is_here, node};
use crate::process::{Process, from_env, seed};

const STREAMS: usize = 10_000;
/// Fewer, since each is a request of Chromium. `CARAFE_TEST_STREAMS` sets another number.
const STREAMS_OF_CHROMIUM: usize = 2000;

/// Whole parts of streams, and parts of characters.
const PARTS: [&[u8]; 34] = [
    b"\n",
    b"\r",
    b"\r\n",
    b"\n\n",
    b"\r\r",
    b"\r\n\r\n",
    b":",
    b" ",
    b"data",
    b"data: a",
    b"data:b",
    b"data: ",
    b"event",
    b"event: c",
    b"event:",
    b"id",
    b"id: 7",
    b"id: 8\0",
    b"id:",
    b"retry",
    b"retry: 5",
    b"9",
    b"foo",
    b"foo: d",
    b"\0",
    b"\xEF\xBB\xBF",
    "\u{e9}".as_bytes(),
    "\u{1f600}".as_bytes(),
    "\u{2028}".as_bytes(),
    b"\xEF\xBB",
    b"\xE2\x82",
    b"\xAC",
    b"\xFF",
    b"\xF0\x9F",
];

#[derive(Debug, Deserialize, PartialEq, Eq)]
struct Decoded {
    events: Vec<Event>,
    id: String,
    retry: Option<u64>,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
struct Event {
    #[serde(rename = "type")]
    event_type: String,
    data: String,
    id: String,
}

/// What two decoders make of a stream: an `EventSource` tells its events only.
#[derive(Debug, Deserialize)]
struct Compared {
    native: Vec<Event>,
    own: Decoded,
}

#[test]
fn the_decoders_of_rust_and_javascript_agree_on_generated_streams() {
    if !is_here("node", "the_decoders_of_rust_and_javascript_agree_on_generated_streams") {
        return;
    }
    compare(STREAMS, &mut node("tests/clients/decoder.mjs"), |chunks, theirs: &Decoded| {
        assert_eq!(&decoded(chunks, "seed"), theirs);
    });
}

#[test]
fn both_decoders_and_chromium_agree_on_generated_streams() {
    if !is_here("browser", "both_decoders_and_chromium_agree_on_generated_streams") {
        return;
    }
    let streams = from_env("CARAFE_TEST_STREAMS", STREAMS_OF_CHROMIUM);
    compare(streams, &mut node("tests/browser/decoders.mjs"), |chunks, theirs: &Compared| {
        let ours = decoded(chunks, "");
        assert_eq!(ours, theirs.own);
        if !is_misread(&chunks.concat()) {
            assert_eq!(ours.events, theirs.native, "Chromium");
        }
    });
}

/// Chromium takes a line break right after a byte order mark as a part of the line that follows.
fn is_misread(stream: &[u8]) -> bool {
    let rest = stream.strip_prefix(b"\xEF\xBB\xBF").unwrap_or_default();
    rest.starts_with(b"\r") || rest.starts_with(b"\n")
}

/// Feeds generated streams to a program, and checks each with what it says of it.
fn compare<T: DeserializeOwned>(
    count: usize,
    program: &mut Command,
    check: impl Fn(&[Vec<u8>], &T),
) {
    let mut random = StdRng::seed_from_u64(seed());
    let streams: Vec<_> = (0..count).map(|_| chunks(&mut random)).collect();
    let (process, mut input) = Process::start_with_input(program);
    let lines: Vec<_> = streams.iter().map(|chunks| line(chunks)).collect();
    // Both ends would wait for each other.
    let writing = thread::spawn(move || {
        for line in lines {
            writeln!(input, "{line}").unwrap();
        }
    });
    for (number, chunks) in streams.iter().enumerate() {
        let shown = process.next_line(|_| true);
        println!("stream {number}: {chunks:?}");
        check(chunks, &serde_json::from_str(&shown).unwrap());
    }
    writing.join().unwrap();
}

/// A stream of odd parts in any order, cut anywhere.
fn chunks(random: &mut StdRng) -> Vec<Vec<u8>> {
    let count = random.random_range(0..40);
    let parts: Vec<&[u8]> =
        (0..count).map(|_| PARTS[random.random_range(0..PARTS.len())]).collect();
    let bytes = parts.concat();
    let (mut rest, mut chunks) = (&bytes[..], Vec::new());
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(random.random_range(0..8).min(rest.len()));
        chunks.push(chunk.to_vec());
        rest = after;
    }
    chunks
}

fn line(chunks: &[Vec<u8>]) -> String {
    let chunks: Vec<_> = chunks.iter().map(|chunk| STANDARD.encode(chunk)).collect();
    serde_json::to_string(&chunks).unwrap()
}

fn decoded(chunks: &[Vec<u8>], id: &str) -> Decoded {
    let mut decoder = Decoder::new().with_last_event_id(id);
    let (mut events, mut retry) = (Vec::new(), None);
    for chunk in chunks {
        let mut input = &chunk[..];
        while let Some(received) = decoder.decode(&mut input).unwrap() {
            match received {
                Received::Event(event) => {
                    let id = event.last_event_id;
                    events.push(Event { event_type: event.event_type, data: event.data, id });
                }
                Received::Retry(time) => retry = u64::try_from(time.as_millis()).ok(),
                Received::Comment(_) => {}
            }
        }
    }
    Decoded { events, id: decoder.last_event_id().into(), retry }
}
