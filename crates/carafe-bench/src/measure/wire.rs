//! Plain HTTP/1.1 over sockets that come from an address of the caller's choice: on Linux all of
//! 127.0.0.0/8 is this machine's.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, bind, ipproto, socket};

use crate::outcome::Outcome;

/// How long an answer may take, where nothing else is said.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Bytes of a head at most.
const HEAD: usize = 64 << 10;

/// Connects. Nothing on the socket waits for longer than `patience`, connecting included.
pub(crate) fn connect(from: Ipv4Addr, to: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let stream =
        TcpStream::from(socket(AddressFamily::INET, SocketType::STREAM, Some(ipproto::TCP))?);
    stream.set_read_timeout(Some(patience))?;
    // Linux ends connecting after the time to write, too.
    stream.set_write_timeout(Some(patience))?;
    stream.set_nodelay(true)?;
    bind(&stream, &SocketAddr::from((from, 0)))?;
    rustix::net::connect(&stream, &to)?;
    Ok(stream)
}

/// Begins to connect, without waiting until it is done.
pub(crate) fn begin_to_connect(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let stream =
        TcpStream::from(socket(AddressFamily::INET, SocketType::STREAM, Some(ipproto::TCP))?);
    stream.set_nonblocking(true)?;
    bind(&stream, &SocketAddr::from((from, 0)))?;
    match rustix::net::connect(&stream, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(stream),
        Err(error) => Err(error.into()),
    }
}

/// An answer whose body has a length.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) closes: bool,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn expect(self, status: u16) -> Outcome {
        if self.status == status {
            return Ok(());
        }
        Err(format!("{} instead of {status}: {}", self.status, String::from_utf8_lossy(&self.body))
            .into())
    }
}

/// The head of a request without a body.
pub(crate) fn get(target: &str, headers: &[(&str, &str)]) -> String {
    head("GET", target, headers)
}

fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> String {
    let headers: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{method} {target} HTTP/1.1\r\nHost: hub.test\r\n{headers}\r\n")
}

/// Whether a GET on a connection of its own is answered with 200.
pub(crate) fn is_well(from: Ipv4Addr, to: SocketAddr, target: &str, patience: Duration) -> bool {
    let ask = || {
        let mut stream = connect(from, to, patience)?;
        stream.write_all(get(target, &[("Connection", "close")]).as_bytes())?;
        answer(&mut stream)
    };
    ask().is_ok_and(|answer| answer.status == 200)
}

/// Sends a request with a body, and reads the answer.
pub(crate) fn post(
    stream: &mut TcpStream,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Answer> {
    let length = body.len().to_string();
    let headers = [headers, &[("Content-Length", &*length)]].concat();
    stream.write_all(&[head("POST", target, &headers).as_bytes(), body].concat())?;
    answer(stream)
}

/// Reads the head of an answer, and its body if that has a length.
pub(crate) fn answer(stream: &mut TcpStream) -> io::Result<Answer> {
    let (head, mut body) = answer_head(stream)?;
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "not an answer");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(bad)?;
    let header = |name: &str| {
        let named = |line: &&str| {
            line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name))
        };
        head.lines().find(named).and_then(|line| Some(line.split_once(':')?.1.trim()))
    };
    let length = header("content-length").map_or(Ok(0), str::parse).map_err(|_| bad())?;
    let read = body.len();
    body.resize(length.max(read), 0);
    stream.read_exact(&mut body[read..])?;
    let closes = header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    Ok(Answer { status, closes, body })
}

/// The head, and the part of the body that arrived with it.
pub(crate) fn answer_head(stream: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(end) = memchr::memmem::find(&read, b"\r\n\r\n") {
            let body = read.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&read).into_owned(), body));
        }
        if read.len() > HEAD {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the head does not end"));
        }
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => read.extend_from_slice(&buffer[..count]),
        }
    }
}
