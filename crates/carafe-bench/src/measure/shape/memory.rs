//! Memory that a hub takes for what clients can make many of: topics, keys and patterns.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use carafe_log::{DiskOptions, IdempotencyKey, Outcome as End, Publication};
use carafe_protocol::Topic;

use crate::figure::Limit;
use crate::filling::Filling;
use crate::outcome::Outcome;
use crate::section::Section;
use crate::series::Series;
use crate::server::Server;
use crate::wire;

use super::bench::Bench;

const COUNT: u64 = 400_000;

/// So many before the first look, so that what is allocated once is there.
const FIRST: u64 = 50_000;

/// Events of a batch.
const BATCH: u64 = 5_000;

const SEALED: u64 = 2_000_000;

const ENDS: u64 = 400_000;

/// Patterns of a stream.
const PATTERNS: u64 = 50;

/// A hub with little memory for recent events, on a log of its own.
fn hub(bench: &Bench, log: &str) -> Outcome<Server> {
    let options = ["--log", log, "--ring-bytes", "1MiB", "--complex-patterns", "1000"];
    Server::carafe(&bench.carafe, &options, None)
}

/// Bytes of user memory for one of something, held by the limit.
struct Each {
    what: &'static str,
    bytes: f64,
    limit: f64,
}

pub(crate) fn measure(bench: &Bench) -> Outcome<Section> {
    let all = [
        Each { what: "topic of the active segment", bytes: of_topic(bench)?, limit: TOPIC },
        Each { what: "key of the active segment", bytes: of_key(bench)?, limit: KEY },
        Each { what: "key of a sealed segment", bytes: of_sealed_key(bench)?, limit: SEALED_KEY },
        Each { what: "ended topic", bytes: of_ended_topic(bench)?, limit: ENDED },
        Each { what: "simple pattern", bytes: of_pattern(bench, 10_000, simple)?, limit: SIMPLE },
        Each { what: "complex pattern", bytes: of_pattern(bench, 500, complex)?, limit: COMPLEX },
    ];
    let mut section = Section::new("Memory of a hub");
    for Each { what, bytes, limit } in all {
        section.demand(format!("bytes for each {what}"), Series::of([bytes]), Limit::AtMost(limit));
    }
    Ok(section)
}

/// Bytes, about a fifth above what each took when it was first held.
const TOPIC: f64 = 120.0;
const KEY: f64 = 140.0;
const SEALED_KEY: f64 = 5.5;
const ENDED: f64 = 200.0;
const SIMPLE: f64 = 640.0;
const COMPLEX: f64 = 52_000.0;

fn of_topic(bench: &Bench) -> Outcome<f64> {
    published(bench, |number| format!("{{\"topic\":\"dev/{number:07}\",\"data\":1}}\n"))
}

fn of_key(bench: &Bench) -> Outcome<f64> {
    published(bench, |number| {
        format!("{{\"topic\":\"orders\",\"data\":1,\"id\":\"order-{number:012}\"}}\n")
    })
}

/// Between the first events and the last ones, in batches of which `line` makes each line.
fn published(bench: &Bench, line: impl Fn(u64) -> String) -> Outcome<f64> {
    let folder = bench.folder()?;
    let server = hub(bench, &format!("disk:{}", folder.path().display()))?;
    let mut socket = wire::connect(Ipv4Addr::LOCALHOST, server.address, wire::PATIENCE)?;
    let (first, count) = (bench.size(FIRST), bench.size(COUNT));
    let mut publish = |numbers: std::ops::Range<u64>| -> Outcome {
        for start in numbers.clone().step_by(BATCH as usize) {
            let body: String = (start..(start + BATCH).min(numbers.end)).map(&line).collect();
            wire::post(
                &mut socket,
                "/events",
                &[("Content-Type", "application/x-ndjson")],
                body.as_bytes(),
            )?
            .expect(201)?;
        }
        Ok(())
    };
    publish(0..first)?;
    let before = server.memory()?.anonymous as f64;
    publish(first..first + count)?;
    Ok((server.memory()?.anonymous as f64 - before) / count as f64)
}

/// Between a hub on a log with many keys and one on a log with few.
fn of_sealed_key(bench: &Bench) -> Outcome<f64> {
    let count = bench.size(SEALED);
    let on = |count: u64| -> Outcome<f64> {
        let folder = bench.folder()?;
        let topic = Topic::new("orders")?;
        let keyed = |number: u64| {
            let key = IdempotencyKey::new(&format!("order-{number:012}")).ok()?;
            Some(Publication::new(topic.clone(), "").with_key(key))
        };
        let options = DiskOptions::default().with_segment_bytes(1 << 20);
        let mut filling = Filling::open(folder.path(), options)?;
        filling.append((0..count).filter_map(keyed))?;
        drop(filling);
        let server = hub(bench, &format!("disk:{}", folder.path().display()))?;
        Ok(server.memory()?.anonymous as f64)
    };
    Ok((on(count)? - on(count / 10)?) / (count - count / 10) as f64)
}

/// Between a hub on a log of ends and one on a log of as many events of as many topics.
fn of_ended_topic(bench: &Bench) -> Outcome<f64> {
    let count = bench.size(ENDS);
    let on = |of: fn(Topic) -> Publication| -> Outcome<f64> {
        let folder = bench.folder()?;
        let options = DiskOptions::default().with_segment_bytes(1 << 20);
        let mut filling = Filling::open(folder.path(), options)?;
        let topic = |number| Topic::new(&format!("jobs/{number:07}")).ok();
        filling.append((0..count).filter_map(|number| topic(number).map(of)))?;
        drop(filling);
        let server = hub(bench, &format!("disk:{}", folder.path().display()))?;
        Ok(server.memory()?.anonymous as f64)
    };
    let ends = on(|topic| Publication::end(topic, End::Done))?;
    Ok((ends - on(|topic| Publication::new(topic, ""))?) / count as f64)
}

fn simple(number: u64) -> String {
    format!("dev/{number:07}/:part")
}

fn complex(number: u64) -> String {
    // dev/{number}-(\d+)
    format!("dev/{number:07}-(%5Cd%2B)")
}

/// On streams of some patterns each, from addresses of their own, beside streams of a topic each.
fn of_pattern(bench: &Bench, count: u64, pattern: fn(u64) -> String) -> Outcome<f64> {
    let server = hub(bench, "memory:")?;
    let streams = bench.size(count).div_ceil(PATTERNS);
    let mut open = Vec::new();
    let mut opened = |query: &dyn Fn(u64) -> String| -> Outcome<f64> {
        for stream in 0..streams {
            open.push(subscribe(&server, stream, &query(stream))?);
        }
        Ok(server.memory()?.anonymous as f64)
    };
    let before = opened(&|stream| format!("topic=dev/{stream}"))?;
    let without = opened(&|stream| format!("topic=other/{stream}"))?;
    let with = opened(&|stream| {
        let numbers = stream * PATTERNS..(stream + 1) * PATTERNS;
        let parts: Vec<_> = numbers.map(|number| format!("pattern={}", pattern(number))).collect();
        parts.join("&")
    })?;
    Ok(((with - without) - (without - before)) / (streams * PATTERNS) as f64)
}

/// Opens a stream, and returns after its position event.
fn subscribe(server: &Server, stream: u64, query: &str) -> Outcome<TcpStream> {
    let from = Ipv4Addr::new(127, 2, (stream / 250) as u8, (stream % 250) as u8 + 1);
    let mut socket = wire::connect(from, server.address, wire::PATIENCE)?;
    socket.write_all(wire::get(&format!("/events?{query}"), &[]).as_bytes())?;
    let mut lines = BufReader::new(Read::by_ref(&mut socket)).lines();
    while let Some(line) = lines.next().transpose()? {
        if line.starts_with("event: carafe.position") {
            drop(lines);
            return Ok(socket);
        }
    }
    Err(format!("a stream of {query} ended early").into())
}
