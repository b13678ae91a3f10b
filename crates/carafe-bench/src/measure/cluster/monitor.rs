//! Waits until a server says over HTTP that it is well.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

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
