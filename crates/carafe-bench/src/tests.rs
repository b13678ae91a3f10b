//! The scanner finds the same events as the decoder of the protocol, and each kind of fault is
//! detected.

use carafe_protocol::{Decoder, Received};
use proptest::prelude::*;

use crate::checks::{Checks, Faults};
use crate::flight::Flight;
use crate::framing::{BadFraming, Framing};
use crate::mark::{Mark, Run};
use crate::scanner::{Found, LastEventId, Scanner};

const RUN: u32 = 7;

fn run() -> Run {
    Run::new(RUN, 40)
}

fn mark(number: u64) -> Mark {
    Mark { topic: 3, number, sent: 99 }
}

fn data(run: &Run, number: u64) -> String {
    let mut data = Vec::new();
    run.write(&mark(number), &mut data);
    String::from_utf8(data).unwrap()
}

/// What there is to find, and the last event ID.
type Findings = (Vec<Found>, Vec<u8>);

fn scan(pieces: &[&[u8]], framing: Framing) -> Result<Findings, BadFraming> {
    let (mut scanner, mut id, mut found) =
        (Scanner::new(framing), LastEventId::default(), Vec::new());
    for piece in pieces {
        scanner.feed(piece, &run(), Some(&mut id), |it| found.push(it))?;
    }
    Ok((found, id.latest().into()))
}

fn decode(mut stream: &[u8]) -> Findings {
    let (mut decoder, mut found) = (Decoder::new(), Vec::new());
    while let Some(received) = decoder.decode(&mut stream).unwrap() {
        match received {
            Received::Event(event) if event.event_type == "carafe.gap" => found.push(Found::Gap),
            Received::Event(event) => {
                // A mark is on the first line, whose end ends it too.
                let line = event.data.split('\n').next().unwrap();
                found.extend(run().read(line.as_bytes()).map(Found::Event));
            }
            Received::Retry(time) => {
                found.push(Found::Retry(u32::try_from(time.as_millis()).unwrap_or(u32::MAX)));
            }
            Received::Comment(_) => {}
        }
    }
    (found, decoder.last_event_id().into())
}

/// Streams of whole and broken lines, most of which matter to the scanner.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let run = run();
    let words = [
        "data: ",
        "data:",
        "data",
        "dat: x",
        "id: 7-1-a",
        "id:",
        "id",
        "id: a\0b",
        "event: carafe.gap",
        "event: brewed",
        "event",
        "retry: 1500",
        "retry: 15x",
        "retry: 99999999999",
        "retry",
        ":",
        ": comment",
        "\u{feff}",
        "x",
        "ident: 1",
        "\n",
        "\n",
        "\n\n",
        "\r\n",
        "\r",
        "\r\n\r\n",
    ];
    let marks = (1..4_u64).map(|number| data(&run, number)).collect::<Vec<_>>();
    let lines = marks.iter().map(|mark| format!("data: {mark}\n"));
    let all: Vec<String> =
        words.into_iter().map(String::from).chain(marks.clone()).chain(lines).collect();
    prop::collection::vec(prop::sample::select(all), 0..40)
        .prop_map(|words| words.concat().into_bytes())
}

/// The same bytes in chunks.
fn chunked(pieces: &[&[u8]]) -> Vec<u8> {
    let chunk =
        |piece: &&[u8]| [format!("{:x};x\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
    pieces.iter().filter(|piece| !piece.is_empty()).flat_map(chunk).chain(*b"0\r\n\r\n").collect()
}

fn split<'a>(bytes: &'a [u8], at: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = at.iter().map(|index| index.index(bytes.len() + 1)).collect();
    places.sort_unstable();
    let starts = std::iter::once(0).chain(places.iter().copied());
    starts
        .zip(places.iter().copied().chain([bytes.len()]))
        .map(|(start, end)| &bytes[start..end])
        .collect()
}

proptest! {
    #[test]
    fn the_scanner_finds_what_the_decoder_finds_however_the_bytes_are_split(
        stream in streams(),
        chunks in any::<[prop::sample::Index; 5]>(),
        reads in any::<[prop::sample::Index; 5]>(),
    ) {
        let expected = decode(&stream);
        prop_assert_eq!(&scan(&split(&stream, &reads), Framing::Plain).unwrap(), &expected);
        let framed = chunked(&split(&stream, &chunks));
        prop_assert_eq!(&scan(&split(&framed, &reads), Framing::chunked()).unwrap(), &expected);
    }
}

#[test]
fn an_event_has_come_at_its_blank_line() {
    let stream = format!("data: {}\n", data(&run(), 1));
    assert_eq!(scan(&[stream.as_bytes()], Framing::Plain).unwrap().0, []);
    assert_eq!(
        scan(&[stream.as_bytes(), b"\n"], Framing::Plain).unwrap().0,
        [Found::Event(mark(1))]
    );
}

#[test]
fn events_of_other_runs_are_passed_over() {
    let other = data(&Run::new(RUN + 1, 40), 1);
    let stream = format!("data: {other}\n\ndata: carafe-bench\n\ndata: hello\n\n");
    assert_eq!(scan(&[stream.as_bytes()], Framing::Plain).unwrap().0, []);
}

#[test]
fn an_event_is_found_within_json() {
    let stream = format!("data: {{\"pub\":{{\"data\":\"{}\"}}}}\n\n", data(&run(), 1));
    assert_eq!(scan(&[stream.as_bytes()], Framing::Plain).unwrap().0, [Found::Event(mark(1))]);
}

#[test]
fn an_events_data_has_the_size_that_was_asked_for() {
    assert_eq!(data(&Run::new(1, 128), 1).len(), 128);
    let least = "carafe-bench 00000001 3 1 99 ";
    assert_eq!(data(&Run::new(1, 0), 1), least);
}

#[test]
fn a_body_that_is_not_in_chunks_is_told() {
    for body in ["xyz", "5\r\nabcdefgh", "ffffffffffffffffff\r\n"] {
        assert_eq!(scan(&[body.as_bytes()], Framing::chunked()), Err(BadFraming), "{body}");
    }
}

/// What is wrong with the numbers that come to one connection.
fn faults(numbers: &[u64]) -> Faults {
    faults_of(Checks::new(true), numbers)
}

fn faults_of(mut checks: Checks, numbers: &[u64]) -> Faults {
    let mut next = 1;
    for number in numbers {
        if checks.arrived(0, next, *number) {
            next = next.max(number + 1);
        }
    }
    checks.faults()
}

#[test]
fn gaps_doubles_and_reorders_are_told_apart() {
    let none = Faults::default();
    assert_eq!(faults(&[1, 2, 3, 4]), none);
    assert_eq!(faults(&[1, 4]), Faults { gaps: 2, ..none });
    assert_eq!(faults(&[1, 2, 2, 1, 3]), Faults { doubles: 2, ..none });
    assert_eq!(faults(&[1, 3, 2, 4]), Faults { reorders: 1, ..none });
    assert_eq!(faults(&[1, 4, 2, 2]), Faults { gaps: 1, reorders: 1, doubles: 1, ..none });
}

#[test]
fn events_of_several_publishers_may_arrive_in_any_order() {
    let (none, faults) = (Faults::default(), |numbers| faults_of(Checks::new(false), numbers));
    assert_eq!(faults(&[1, 4, 2, 3, 5]), none);
    assert_eq!(faults(&[1, 4, 2]), Faults { gaps: 1, ..none });
    assert_eq!(faults(&[1, 4, 2, 2]), Faults { gaps: 1, doubles: 1, ..none });
}

#[test]
fn an_event_is_in_flight_until_every_connection_of_its_topic_has_it() {
    let mut flight = Flight::new(3, 2);
    assert_eq!((flight.publish(0), flight.publish(1), flight.publish(0)), (1, 1, 2));
    assert_eq!(flight.events(), 3);
    assert!(flight.arrived(0, 1..2) && flight.arrived(1, 1..2));
    assert_eq!(flight.events(), 2, "one of the two connections of topic 0 misses both");
    assert!(flight.arrived(0, 2..3) && flight.arrived(0, 1..3));
    assert_eq!(flight.events(), 0);
    assert!(!flight.arrived(0, 1..2), "it had been over");
}

#[test]
fn a_connection_that_is_given_up_is_not_waited_for() {
    let mut flight = Flight::new(2, 1);
    flight.publish(0);
    flight.publish(0);
    flight.arrived(0, 1..3);
    flight.give_up(0, 1);
    assert_eq!(flight.events(), 0);
    flight.publish(0);
    flight.arrived(0, 3..4);
    assert_eq!(flight.events(), 0, "later events do not wait for it either");
}

#[test]
fn a_connection_costs_the_load_little() {
    let size = size_of::<crate::connection::Connection>();
    assert!(size <= 192, "{size} bytes, and a run may have a million of them");
}
