//! Requests that proxies and hubs may read differently (RFC 9112, section 3.2).

use std::io::Write;
use std::time::Duration;

use super::attacker::Attacker;

const REQUESTS: [(&str, &str); 4] = [
    ("no Host", "GET /events?topic=a HTTP/1.1\r\n\r\n"),
    ("two Hosts", "GET /events?topic=a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    (
        "two lengths",
        "POST /events/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("a Host that is none", "GET /events?topic=a HTTP/1.1\r\nHost: a b/../c\r\n\r\n"),
];

pub(crate) fn attempt(attacker: &mut Attacker<'_>) {
    let (what, request) = REQUESTS[(attacker.done % REQUESTS.len() as u64) as usize];
    let Some(mut stream) = attacker.connect() else { return };
    let answer =
        stream.write_all(request.as_bytes()).and_then(|()| crate::wire::answer_head(&mut stream));
    let answer = answer
        .map_or("closed".into(), |(head, _)| head.split(' ').nth(1).unwrap_or("?").to_owned());
    attacker.count(format!("{what}: {answer}"));
    attacker.pause(Duration::from_millis(20));
}
