//! Properties of any body whose events are stored as they arrive; the fuzz target runs them, too.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::Request;
use carafe_log::Publication;
use futures_util::stream;

use crate::asking::{Answer, BATCH_BYTES, EVENT_BYTES, Place};

const NDJSON: &str = "application/x-ndjson";

/// A whole body is sent byte by byte, too, if it is not longer.
const BYTE_BY_BYTE: usize = 512;

/// How the events of a body are written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Blocks,
    /// JSON for the topic of the request.
    Json,
    /// JSON that names its topics.
    JsonWithTopics,
    Lines,
}

/// What has become of a body.
#[derive(Debug, PartialEq)]
pub(crate) struct Ingested {
    pub(crate) status: u16,
    /// The kind of the problem, and where it is.
    problem: Option<(String, Option<u64>, Option<u64>)>,
    pub(crate) stored: usize,
    pub(crate) repeated: usize,
    publications: Vec<Publication>,
}

/// The first byte of the input is the form, the second says how the body is split, and the rest is
/// the body. However it is split, the same events are stored, and the answer is the same. Returns
/// what has become of it; `None` if there is no body.
pub(crate) fn any_body_is_ingested_alike_however_it_is_split(input: &[u8]) -> Option<Ingested> {
    let [form, seed, body @ ..] = input else { return None };
    let form = match form {
        b'b' => Form::Blocks,
        b'j' => Form::Json,
        b't' => Form::JsonWithTopics,
        b'l' => Form::Lines,
        other => {
            [Form::Blocks, Form::Json, Form::JsonWithTopics, Form::Lines][usize::from(*other) % 4]
        }
    };
    let whole = ingested(form, vec![body.to_vec()]);
    assert_eq!(ingested(form, pieces(body, *seed)), whole);
    if body.len() <= BYTE_BY_BYTE {
        assert_eq!(ingested(form, body.chunks(1).map(<[u8]>::to_vec).collect()), whole);
    }
    match form {
        Form::Lines => check_lines(body, &whole),
        Form::JsonWithTopics => check_batch(body, &whole),
        Form::Blocks | Form::Json => {}
    }
    Some(whole)
}

fn ingested(form: Form, pieces: Vec<Vec<u8>>) -> Ingested {
    let (target, kind) = match form {
        Form::Blocks => ("/events/a", "text/event-stream"),
        Form::Json => ("/events/a", NDJSON),
        Form::JsonWithTopics => ("/events?stream", NDJSON),
        Form::Lines => ("/events/a?split=lines", "text/plain"),
    };
    let place = Place::new();
    let body = Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<_, Infallible>)));
    let request = Request::post(target).header("content-type", kind).body(body);
    let answer = place.ask(request.expect("it is a request"));
    let publications = place.stored().iter().map(|entry| entry.publication.clone()).collect();
    outcome(&answer, publications)
}

fn outcome(answer: &Answer, publications: Vec<Publication>) -> Ingested {
    let is_refused = !matches!(answer.status, 200 | 201);
    let json = if is_refused { answer.refuses() } else { answer.json() };
    let count = |name: &str| json[name].as_u64().and_then(|count| usize::try_from(count).ok());
    let (stored, repeated) = (count("stored").unwrap(), count("repeated").unwrap());
    assert_eq!(publications.len(), stored, "{answer:?}");
    assert_eq!(json["last"].is_null(), stored + repeated == 0, "{answer:?}");
    assert!(is_refused || (answer.status == 201) == (stored > 0), "{answer:?}");
    let kind = json["type"].as_str().map(ToOwned::to_owned);
    let problem = kind.map(|kind| (kind, json["line"].as_u64(), json["event"].as_u64()));
    Ingested { status: answer.status, problem, stored, repeated, publications }
}

/// Pieces of random sizes, and empty ones.
fn pieces(body: &[u8], seed: u8) -> Vec<Vec<u8>> {
    let (mut pieces, mut rest, mut random) = (Vec::new(), body, u64::from(seed));
    while !rest.is_empty() {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        let longest = 1 + usize::from(seed) % 48;
        let size = (random >> 33) as usize % (longest + 1);
        let (piece, others) = rest.split_at(size.min(rest.len()));
        pieces.push(piece.to_vec());
        rest = others;
    }
    pieces
}

/// Each line is the data of an event, up to the first that is too long, or not UTF-8.
fn check_lines(body: &[u8], ingested: &Ingested) {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut lines: Vec<_> = body.split(|byte| *byte == b'\n').collect();
    // Behind the last line break, there is no line.
    lines.pop_if(|last| last.is_empty());
    let data = |line: &[u8]| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = std::str::from_utf8(line).ok().filter(|line| line.len() <= EVENT_BYTES);
        text.map(ToOwned::to_owned)
    };
    let count = lines.len();
    let expected: Vec<_> = lines.into_iter().map_while(data).collect();
    let stored: Vec<_> = ingested.publications.iter().map(Publication::data).collect();
    assert_eq!(stored, expected);
    assert_eq!(ingested.problem.is_none(), expected.len() == count);
}

/// What is stored as a batch is stored as it arrives, and the other way round.
fn check_batch(body: &[u8], ingested: &Ingested) {
    let place = Place::new();
    let request = Request::post("/events").header("content-type", NDJSON);
    let answer = place.ask(request.body(body.to_vec().into()).expect("it is a request"));
    // A batch has a size, and an event at least.
    if body.len() > BATCH_BYTES || ingested.stored + ingested.repeated == 0 {
        return;
    }
    assert_eq!(matches!(answer.status, 200 | 201), ingested.problem.is_none(), "{answer:?}");
    if ingested.problem.is_none() {
        let stored: Vec<_> = place.stored().iter().map(|entry| entry.publication.clone()).collect();
        assert_eq!(stored, ingested.publications);
    }
}
