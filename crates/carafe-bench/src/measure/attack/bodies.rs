//! Bodies that never end, or are more than they look.

use std::io::Write;
use std::time::Duration;

use super::attacker::{Attacker, PATIENCE};
use crate::wire;

/// What the hub takes of a batch.
const WHOLE: usize = 16 << 20;

/// Sends all of a batch but its last byte, and waits. Every second attacker has a token.
pub(crate) fn nearly_whole(attacker: &mut Attacker<'_>) {
    let line = format!("{{\"topic\":\"attack/a\",\"data\":\"{}\"}}\n", "x".repeat(990));
    let body = line.as_bytes().repeat(WHOLE / line.len() + 1);
    let with_token = attacker.number.is_multiple_of(2);
    send(attacker, with_token, &body[..WHOLE - 1], WHOLE);
    attacker.pause(Duration::from_millis(50));
}

/// One line that is an array of very many numbers.
pub(crate) fn array(attacker: &mut Attacker<'_>) {
    let mut body = String::from("{\"topic\":\"attack/a\",\"data\":[0");
    body.push_str(&",0".repeat((WHOLE - body.len() - 3) / 2));
    body.push_str("]}\n");
    send(attacker, true, body.as_bytes(), body.len());
    attacker.pause(Duration::from_millis(200));
}

/// Sends a byte now and then, until the hub has enough of it.
pub(crate) fn slow(attacker: &mut Attacker<'_>) {
    let Some(mut stream) = attacker.connect() else { return };
    let mut sent = stream.write_all(head(attacker, true, 1 << 20).as_bytes()).is_ok();
    while sent && !attacker.is_over() && !Attacker::is_closed(&stream) {
        sent = stream.write_all(b" ").is_ok();
        attacker.pause(Duration::from_millis(500));
    }
    if !attacker.is_over() {
        attacker.count_answer(&mut stream);
    }
}

fn head(attacker: &Attacker<'_>, with_token: bool, length: usize) -> String {
    let (length, authorization) = (length.to_string(), attacker.authorization());
    let mut headers = vec![("Content-Type", "application/x-ndjson"), ("Content-Length", &*length)];
    if let Some(authorization) = authorization.as_deref().filter(|_| with_token) {
        headers.push(("Authorization", authorization));
    }
    wire::get("/events", &headers).replacen("GET", "POST", 1)
}

/// Counts what became of the body: it may be refused before all of it is sent.
fn send(attacker: &Attacker<'_>, with_token: bool, body: &[u8], length: usize) {
    let Some(mut stream) = attacker.connect() else { return };
    let head = head(attacker, with_token, length);
    let mut sent = stream.write_all(head.as_bytes()).is_ok();
    for part in body.chunks(64 << 10) {
        sent = sent && !attacker.is_over() && stream.write_all(part).is_ok();
    }
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let token = if with_token { "with a token" } else { "without" };
    let answer = match wire::answer_head(&mut stream) {
        Ok((head, _)) => head.split(' ').nth(1).unwrap_or("no status").to_owned(),
        Err(_) if sent => "no answer in time".into(),
        Err(_) => "closed".into(),
    };
    attacker.count(format!("{answer} {token}"));
}
