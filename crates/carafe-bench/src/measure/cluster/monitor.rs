//! What servers say over HTTP: that they are well, and how they are.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::outcome::Outcome;
use crate::wire;

const PATIENCE: Duration = Duration::from_secs(30);

const PAUSE: Duration = Duration::from_millis(10);

/// Asks until the answer to a GET of this path is 200.
pub(super) fn wait_until_well(address: SocketAddr, path: &str) -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    while !wire::is_well(Ipv4Addr::LOCALHOST, address, path, PATIENCE) {
        if Instant::now() > deadline {
            return Err(format!("http://{address}{path} does not answer 200").into());
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// The body of the answer to a GET of this path, which has to be JSON.
pub(super) fn ask(address: SocketAddr, path: &str) -> Outcome<Value> {
    let mut socket = wire::connect(Ipv4Addr::LOCALHOST, address, PATIENCE)?;
    // An answer in HTTP/1.0 is in one piece, without chunks.
    write!(socket, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or("the answer has no body")?;
    Ok(serde_json::from_str(body)?)
}
