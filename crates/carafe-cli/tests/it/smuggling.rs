//! Requests whose end two readers could see in two places, with another request behind the first
//! end.

use std::io::{Read, Write};
use std::net::SocketAddr;

use crate::http::{Stream, connect, publish};
use crate::process::Server;
use crate::proxies::{Front, Kind};

/// What is to be smuggled.
const HIDDEN: &str = "POST /events/smuggled HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx";

/// A form of smuggling: its name, the headers after `Host`, and the body. `#` stands for the body's
/// length.
type Form = (&'static str, &'static str, String);

/// What is well-formed in itself, or read leniently by some: one request with one end.
fn ambiguous() -> Vec<Form> {
    let ended = format!("0\r\n\r\n{HIDDEN}");
    let whole = format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len());
    vec![
        ("CL.TE", "Content-Length: #\r\nTransfer-Encoding: chunked", ended.clone()),
        ("TE and then CL", "Transfer-Encoding: chunked\r\nContent-Length: #", ended.clone()),
        ("TE.CL", "Content-Length: 4\r\nTransfer-Encoding: chunked", whole.clone()),
        ("CL of 0 and TE", "Content-Length: 0\r\nTransfer-Encoding: chunked", ended.clone()),
        (
            "bare LF before TE",
            "X: y\nTransfer-Encoding: chunked\r\nContent-Length: #",
            ended.clone(),
        ),
        ("bare LF after CL", "Content-Length: #\nTransfer-Encoding: chunked", ended),
        ("TE in capitals", "TRANSFER-ENCODING: CHUNKED\r\nContent-Length: 4", whole),
        ("the same CL twice", "Content-Length: #\r\nContent-Length: #", HIDDEN.into()),
    ]
}

/// What no reader may take for whole.
fn malformed() -> Vec<Form> {
    let ended = format!("0\r\n\r\n{HIDDEN}");
    let heads = [
        ("two CL", "Content-Length: 0\r\nContent-Length: #"),
        ("two CL in one line", "Content-Length: 0, 1"),
        ("CL with a sign", "Content-Length: +0"),
        ("CL below 0", "Content-Length: -1"),
        ("CL in hex", "Content-Length: 0x0"),
        ("CL with a space in it", "Content-Length: 0 0"),
        ("CL without bounds", "Content-Length: 99999999999999999999999"),
        ("CL and a space before the colon", "Content-Length : 0"),
        ("TE and a space before the colon", "Content-Length: 5\r\nTransfer-Encoding : chunked"),
        ("TE and a tab before the colon", "Content-Length: 5\r\nTransfer-Encoding\t: chunked"),
        ("TE folded", "Content-Length: 5\r\nTransfer-Encoding:\r\n chunked"),
        ("CL folded", "X: y\r\n Content-Length: 5\r\nTransfer-Encoding: xchunked"),
        ("TE of an unknown kind", "Content-Length: 5\r\nTransfer-Encoding: xchunked"),
        ("TE that ends otherwise", "Transfer-Encoding: chunked, identity"),
        ("two TE", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        ("TE with a vertical tab", "Content-Length: 5\r\nTransfer-Encoding: \u{b}chunked"),
        ("CR alone", "Content-Length: 5\rTransfer-Encoding: chunked"),
        ("NUL", "Content-Length: 5\r\nTransfer-Encoding: chunked\0"),
    ];
    let chunks = [
        ("a chunk without a size", "\r\n\r\n"),
        ("a chunk's size that is no number", "g\r\n\r\n"),
        ("a chunk's size below 0", "-1\r\n\r\n"),
        ("a chunk's size in hex with its mark", "0x0\r\n\r\n"),
        ("a chunk's size without bounds", "10000000000000000\r\n\r\n"),
        ("a chunk longer than it says", "1\r\nxx\r\n0\r\n\r\n"),
    ];
    let heads = heads.into_iter().map(|(name, head)| (name, head, ended.clone()));
    heads.chain(chunks.into_iter().map(chunked)).collect()
}

/// What nginx takes for whole, since it lets LF end a line of a chunk. It then sees two requests
/// where the client has sent two, and asks the hub for both, each on its own: nothing is hidden
/// from it.
fn malformed_but_to_nginx() -> Vec<Form> {
    let chunks = [
        ("a chunk's size with LF alone", "0\n\n"),
        ("a chunk's extension with LF alone", "0;x\ny\r\n\r\n"),
        ("a chunk that ends in LF alone", "1\r\nx\n0\r\n\r\n"),
    ];
    chunks.into_iter().map(chunked).collect()
}

fn chunked((name, chunk): (&'static str, &'static str)) -> Form {
    (name, "Transfer-Encoding: chunked", format!("{chunk}{HIDDEN}"))
}

/// Sends the form, and reads the status of each answer until the connection is closed.
fn statuses(address: SocketAddr, (_, head, body): &Form) -> Vec<u16> {
    let mut socket = connect(address);
    let head = head.replace('#', &body.len().to_string());
    let request = format!("POST /events/first HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n{body}");
    // A server may refuse, and close, before it has read all.
    let _ = socket.write_all(request.as_bytes());
    let mut answers = Vec::new();
    let _ = socket.read_to_end(&mut answers);
    let answers = String::from_utf8_lossy(&answers);
    let heads = answers.match_indices("HTTP/1.1 ");
    heads.map(|(at, name)| answers[at + name.len()..][..3].parse().unwrap()).collect()
}

/// A hub that soon gives up on what is never whole, so that each connection ends.
fn hub() -> Server {
    Server::start(&["--header-timeout", "500ms", "--body-timeout", "500ms"])
}

/// The topics of all that the hub has stored.
fn stored(hub: &Server) -> Vec<String> {
    publish(hub.address, "/events/last", "x");
    let mut stream = Stream::open(hub.address, "/events?earliest=true&envelope=json", &[]);
    let mut topics = Vec::new();
    while topics.last().is_none_or(|topic| topic != "last") {
        let event: serde_json::Value = serde_json::from_str(&stream.data(1)[0]).unwrap();
        topics.push(event["topic"].as_str().unwrap().to_owned());
    }
    topics
}

/// Each of the forms has one answer, and that is a refusal if it is malformed.
#[track_caller]
fn has_one_end(address: SocketAddr, ambiguous: &[Form], malformed: &[Form]) {
    for form in ambiguous {
        let statuses = statuses(address, form);
        assert!(matches!(statuses[..], [201 | 400]), "{}: {statuses:?}", form.0);
    }
    for form in malformed {
        let statuses = statuses(address, form);
        assert!(matches!(statuses[..], [] | [400 | 501]), "{}: {statuses:?}", form.0);
    }
}

#[track_caller]
fn has_nothing_hidden(hub: &Server) {
    let stored = stored(hub);
    assert!(stored.iter().all(|topic| topic != "smuggled"), "{stored:?}");
}

#[test]
fn a_hidden_request_is_neither_answered_nor_stored() {
    let hub = hub();
    has_one_end(hub.address, &ambiguous(), &[malformed(), malformed_but_to_nginx()].concat());
    has_nothing_hidden(&hub);
}

#[test]
fn behind_nginx_a_hidden_request_is_neither_answered_nor_stored() {
    if !Kind::Nginx.is_here("behind_nginx_a_hidden_request_is_neither_answered_nor_stored") {
        return;
    }
    let hub = hub();
    let front = Front::start(Kind::Nginx, hub.address);
    has_one_end(front.clear, &ambiguous(), &malformed());
    has_nothing_hidden(&hub);
}
