//! `carafe healthcheck`: whether a hub on this machine is alive, for containers without curl.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use clap::Args;

use crate::cli::{ListenAddress, positive_duration};
use crate::failure::Failure;

#[derive(Args, Debug)]
pub(crate) struct HealthcheckOptions {
    /// Where the hub listens without TLS, as in --listen or --metrics-listen
    #[arg(env = "CARAFE_METRICS_LISTEN", value_name = "ADDR")]
    metrics: Option<ListenAddress>,
    /// Where the hub listens if it has no listener for metrics
    #[arg(
        long,
        env = "CARAFE_LISTEN",
        default_value = "127.0.0.1:3000",
        value_delimiter = ',',
        value_name = "ADDR"
    )]
    listen: Vec<ListenAddress>,
    /// Check /readyz instead of /healthz: whether the hub accepts clients
    #[arg(long)]
    ready: bool,
    /// Timeout for connecting and for the response, each
    #[arg(long, default_value = "3s", value_name = "DURATION", value_parser = positive_duration)]
    timeout: Duration,
}

/// Fails unless the hub responds with 200.
pub(crate) fn healthcheck(options: &HealthcheckOptions) -> Result<(), Failure> {
    let Some(address) = options.metrics.as_ref().or(options.listen.first()) else {
        return Err(Failure::usage("--listen needs an address"));
    };
    let path = if options.ready { "/readyz" } else { "/healthz" };
    let status = ask(address, path, options.timeout)
        .map_err(|error| Failure::failed(format!("cannot check the hub at {address}: {error}")))?;
    match &*status {
        "200" => Ok(()),
        "" => Err(Failure::failed(format!(
            "{address} does not speak HTTP without TLS: name the address of --metrics-listen"
        ))),
        _ => Err(Failure::failed(format!("the hub at {address} responds to {path} with {status}"))),
    }
}

/// The status of the response, or nothing if it is none.
fn ask(address: &ListenAddress, path: &str, timeout: Duration) -> io::Result<String> {
    match address {
        ListenAddress::Tcp { host, port } => {
            let socket = connect(loopback_of(host), *port, timeout)?;
            socket.set_read_timeout(Some(timeout))?;
            status_of(socket, path)
        }
        ListenAddress::Unix(file) => {
            let socket = UnixStream::connect(file)?;
            socket.set_read_timeout(Some(timeout))?;
            status_of(socket, path)
        }
        ListenAddress::Passed(_) => {
            Err(io::Error::other("name the address of the socket, not its descriptor"))
        }
    }
}

/// A hub that listens on all addresses listens on loopback, too.
fn loopback_of(host: &str) -> &str {
    match host {
        "" | "0.0.0.0" => "127.0.0.1",
        "::" => "::1",
        host => host,
    }
}

fn connect(host: &str, port: u16, timeout: Duration) -> io::Result<TcpStream> {
    let mut failure = io::Error::other("the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(socket) => return Ok(socket),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn status_of(mut socket: impl Read + Write, path: &str) -> io::Result<String> {
    // `carafe dev` answers only names of loopback.
    write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    // `HTTP/1.1 200`
    let mut head = Vec::new();
    socket.take(12).read_to_end(&mut head)?;
    let head = String::from_utf8_lossy(&head).into_owned();
    Ok(head.strip_prefix("HTTP/1.1 ").unwrap_or_default().into())
}
