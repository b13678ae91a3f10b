//! Waits until a server says over HTTP that it is well.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::outcome::Outcome;

const PATIENCE: Duration = Duration::from_secs(30);

const PAUSE: Duration = Duration::from_millis(10);

/// Asks until the answer to a GET of this path is 200.
pub(super) fn wait_until_well(address: SocketAddr, path: &str) -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    while !is_well(address, path).unwrap_or(false) {
        if Instant::now() > deadline {
            return Err(format!("http://{address}{path} does not answer 200").into());
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

fn is_well(address: SocketAddr, path: &str) -> Outcome<bool> {
    let mut socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    write!(socket, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut status = [0; "HTTP/1.1 200".len()];
    socket.read_exact(&mut status)?;
    Ok(status.ends_with(b" 200"))
}
