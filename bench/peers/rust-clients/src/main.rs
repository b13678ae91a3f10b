//! rust-clients [ROUNDS]
//!
//! Throughput of clients in Rust, beside each other: the median of some rounds, in which they take
//! turns. It goes by the processor time of this process, which other programs and the server do not
//! change. The server is that of the clients in Node.

mod readers;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::time::{ClockId, clock_gettime};

use crate::readers::READERS;

/// Bytes of an event, and how many there are.
const SHAPES: [(usize, usize); 3] = [(50, 400_000), (1000, 100_000), (100_000, 3000)];

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../clients/server.mjs");

fn main() {
    let rounds = std::env::args().nth(1).map_or(5, |rounds| rounds.parse().expect("a number"));
    // reqwest insists on one, also without TLS.
    rustls::crypto::aws_lc_rs::default_provider().install_default().expect("it is the first");
    let mut server = Command::new("node");
    server.arg(SERVER).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut server = server.spawn().expect("node is installed");
    let port = port(&mut server);
    for (bytes, events) in SHAPES {
        println!("\n{events} events of {bytes} bytes");
        let url = format!("http://127.0.0.1:{port}/{events}/{bytes}");
        for (name, mut times) in measure(&url, events, rounds) {
            times.sort_by(f64::total_cmp);
            print(name, &times, bytes, events);
        }
    }
    // It ends with its standard input.
    drop(server.stdin.take());
    server.wait().expect("the server ends");
}

fn port(server: &mut Child) -> u16 {
    let output = server.stdout.take().expect("it is piped");
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).expect("the server prints its port");
    line.trim().parse().expect("a port")
}

/// The times of each client in seconds.
fn measure(url: &str, events: usize, rounds: usize) -> Vec<(&'static str, Vec<f64>)> {
    let mut times: Vec<_> = READERS.iter().map(|(name, _)| (*name, Vec::new())).collect();
    for round in 0..=rounds {
        for ((_, read), (_, times)) in READERS.iter().zip(&mut times) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let begun = processor_time();
            runtime.expect("a runtime").block_on(read(url.to_owned(), events));
            // The first round warms up.
            if round > 0 {
                times.push(processor_time() - begun);
            }
        }
    }
    times
}

fn processor_time() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn print(name: &str, sorted: &[f64], bytes: usize, events: usize) {
    let (least, median) = (sorted[0], sorted[sorted.len() / 2]);
    let most = sorted[sorted.len() - 1];
    let rate = events as f64 / median;
    let megabytes = rate * bytes as f64 / 1e6;
    println!(
        "{name:28} {rate:>10.0} events/s {megabytes:>6.0} MB/s   ({least:.2} to {most:.2} s)"
    );
}
