//! The bare loop: a server that answers each connection with so many bytes, with the system's
//! buffers.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

use super::replay::LAST;
use crate::outcome::Outcome;

const BLOCK: usize = 64 << 10;
const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

/// Serves until killed.
pub(crate) fn serve(bytes: usize) -> Outcome {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    for socket in listener.incoming() {
        let socket = socket?;
        // A client may leave before it has all.
        thread::spawn(move || answer(socket, bytes));
    }
    Ok(())
}

fn answer(mut socket: TcpStream, bytes: usize) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let _ = socket.read(&mut [0; 4096])?;
    socket.write_all(HEAD)?;
    let block = [b'x'; BLOCK];
    let mut left = bytes;
    while left > 0 {
        let part = left.min(BLOCK);
        socket.write_all(&block[..part])?;
        left -= part;
    }
    // A proxy may keep the connection: the client has to know the end.
    socket.write_all(LAST.as_bytes())
}
