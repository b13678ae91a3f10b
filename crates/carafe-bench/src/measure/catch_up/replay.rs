//! One replay of a hub's history, and as many bytes of the bare loop.

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::thread;
use std::time::Instant;

use super::measured::{Measured, Rate};
use crate::nginx;
use crate::outcome::Outcome;
use crate::server::Server;
use crate::wire;

const TARGET: &str = "/events/replay?earliest=true";

/// The data of the last event.
pub(super) const LAST: &str = "the last one";

/// Bytes of a batch, of which a hub takes 16 MiB.
const BATCH: usize = 4 << 20;

/// A hub with a history, and the bare loop, each also behind nginx.
pub(super) struct Pair {
    hub: Server,
    bare: Server,
    event: usize,
}

impl Pair {
    pub(super) fn start(carafe: &Path, event: usize, bytes: usize) -> Outcome<Self> {
        let options = ["--log", "memory:", "--history-bytes", "512MiB", "--ring-bytes", "256MiB"];
        let hub = Server::carafe(carafe, &options, None)?;
        publish(hub.address, event, bytes)?;
        let body = read(hub.address)?;
        Ok(Self { hub, bare: Server::bare_loop(body)?, event })
    }

    /// Both take turns.
    pub(super) fn measure(
        &self,
        streams: usize,
        rounds: usize,
        through_nginx: bool,
    ) -> Outcome<Measured> {
        let proxies = match through_nginx {
            true => Some((proxy(self.hub.address)?, proxy(self.bare.address)?)),
            false => None,
        };
        let addresses = match &proxies {
            Some((hub, bare)) => (hub.address, bare.address),
            None => (self.hub.address, self.bare.address),
        };
        let (mut hub, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            hub.push(rate(&self.hub, addresses.0, streams)?);
            bare.push(rate(&self.bare, addresses.1, streams)?);
        }
        Ok(Measured { event: self.event, streams, through_nginx, hub, bare })
    }
}

/// nginx, configured as it is documented.
fn proxy(upstream: SocketAddr) -> Outcome<Server> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let folder = std::env::current_dir()?.join(format!("target/peers/proxy-{port}"));
    fs::create_dir_all(&folder)?;
    let config = fs::read_to_string("bench/peers/proxy/nginx.conf")?
        .replace("FOLDER", &folder.display().to_string())
        .replace("PORT", &port.to_string())
        .replace("UPSTREAM", &upstream.to_string());
    fs::write(folder.join("nginx.conf"), config)?;
    nginx::proxy(&folder, port)
}

fn publish(hub: SocketAddr, event: usize, bytes: usize) -> Outcome {
    let line = |data: &str| format!("{{\"topic\":\"replay\",\"data\":\"{data}\"}}\n");
    let (events, of_batch) = (bytes.div_ceil(event), BATCH.div_ceil(event));
    let one = line(&"x".repeat(event));
    let mut left = events;
    while left > 0 {
        let now = left.min(of_batch);
        left -= now;
        let last = if left == 0 { line(LAST) } else { String::new() };
        let headers = [("Content-Type", "application/x-ndjson")];
        let mut socket = wire::connect(Ipv4Addr::LOCALHOST, hub, wire::PATIENCE)?;
        wire::post(&mut socket, "/events", &headers, (one.repeat(now) + &last).as_bytes())?
            .expect(201)?;
    }
    Ok(())
}

/// Lets so many clients read at once.
fn rate(server: &Server, address: SocketAddr, streams: usize) -> Outcome<Rate> {
    let (start, processor) = (Instant::now(), server.processor()?);
    let readers: Vec<_> = (0..streams)
        .map(|_| thread::spawn(move || read(address).map_err(|error| error.to_string())))
        .collect();
    let mut bytes = 0;
    for reader in readers {
        bytes += reader.join().map_err(|_| "a reader has failed")??;
    }
    let seconds = start.elapsed().as_secs_f64();
    let gigabytes = bytes as f64 / 1e9;
    Ok(Rate {
        bytes: bytes as f64 / seconds,
        processor: (server.processor()? - processor) / gigabytes,
    })
}

/// Reads until the last event, or the end; how many bytes the body has.
fn read(address: SocketAddr) -> Outcome<usize> {
    let mut socket = wire::connect(Ipv4Addr::LOCALHOST, address, wire::PATIENCE)?;
    std::io::Write::write_all(&mut socket, wire::get(TARGET, &[]).as_bytes())?;
    let (_, mut tail) = wire::answer_head(&mut socket)?;
    let (mut bytes, mut buffer) = (tail.len(), vec![0; 64 << 10]);
    // What ends in one read may have begun in the one before.
    let keep = 4 * LAST.len();
    loop {
        if memchr::memmem::find(&tail, LAST.as_bytes()).is_some() {
            return Ok(bytes);
        }
        tail.drain(..tail.len().saturating_sub(keep));
        let read = socket.read(&mut buffer)?;
        if read == 0 {
            return Ok(bytes);
        }
        bytes += read;
        tail.extend_from_slice(&buffer[..read]);
    }
}
