//! The records of an encrypted connection on their way to its socket, and from it.
//!
//! A record cannot be encrypted twice. So when the kernel takes only a part of a record, the rest
//! is kept. Its data counts as taken only when the record is: the dispatcher offers the same bytes
//! again, and sees a client without room, as on a cleartext connection.

use std::io::ErrorKind;
use std::io::Read;

use mio::net::TcpStream;

use crate::end_reason::EndReason;
use crate::record_layer::RecordLayer;
use crate::send_buffer;
use crate::socket;

/// The most data of one record (RFC 8446, 5.1).
const RECORD: usize = 16 << 10;

/// The most that a client may send while its stream is open. A client has nothing to say but that
/// it closes (24 bytes), and now and then that it changes its keys (27 bytes). The TLS library
/// accepts 32 changes from a client that sends no data.
const ALLOWED: u16 = 1024;

/// What was read from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// All that there was, and the stream goes on.
    All,
    /// As much as may be processed now. There may be more.
    More,
    /// The stream ends.
    End(EndReason),
}

pub(crate) struct Encrypted {
    records: Box<dyn RecordLayer>,
    /// The rest of a record that was written in part.
    rest: Vec<u8>,
    /// The bytes of its data that were not reported as taken.
    unreported: usize,
    /// What the client may still send.
    allowed: u16,
}

impl Encrypted {
    pub(crate) fn new(records: impl RecordLayer) -> Self {
        Self { records: Box::new(records), rest: Vec::new(), unreported: 0, allowed: ALLOWED }
    }

    /// Writes records until the kernel has no more room. `scratch` is for the record that is being
    /// written.
    pub(crate) fn write(
        &mut self,
        socket: &TcpStream,
        bytes: &[u8],
        scratch: &mut Vec<u8>,
    ) -> Result<usize, EndReason> {
        let mut taken = self.write_rest(socket)?;
        while taken < bytes.len() && self.rest.is_empty() {
            let data = &bytes[taken..bytes.len().min(taken + RECORD)];
            scratch.clear();
            self.records.encrypt(data, scratch).map_err(|_| EndReason::Cut)?;
            let written = socket::write(socket, scratch)?;
            self.rest.extend_from_slice(&scratch[written..]);
            self.unreported = data.len();
            taken += self.report(written);
        }
        Ok(taken)
    }

    fn write_rest(&mut self, socket: &TcpStream) -> Result<usize, EndReason> {
        if self.rest.is_empty() {
            return Ok(0);
        }
        let written = socket::write(socket, &self.rest)?;
        self.rest.drain(..written);
        Ok(self.report(written))
    }

    /// How much of its data counts as taken after so many bytes of a record were written: all with
    /// its last byte, and not all before.
    fn report(&mut self, written: usize) -> usize {
        let taken = if self.rest.is_empty() {
            self.rest = Vec::new();
            self.unreported
        } else {
            written.min(self.unreported.saturating_sub(1))
        };
        self.unreported -= taken;
        taken
    }

    /// Reads what the client has sent, and processes it while `budget` has bytes left.
    pub(crate) fn read(&mut self, mut socket: &TcpStream, budget: &mut usize) -> Received {
        let mut buffer = [0; 256];
        while *budget > 0 {
            match socket.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Received::All,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Received::End(EndReason::by(&error)),
                Ok(0) => return Received::End(EndReason::Left),
                Ok(read) if !self.may_send(read) => return Received::End(EndReason::Exceeded),
                Ok(read) if self.records.receive(&buffer[..read]) => {
                    *budget = budget.saturating_sub(read);
                }
                Ok(_) => return Received::End(EndReason::Left),
            }
        }
        Received::More
    }

    /// Whether the client may send so many bytes now.
    fn may_send(&mut self, read: usize) -> bool {
        let left = u16::try_from(read).ok().and_then(|read| self.allowed.checked_sub(read));
        self.allowed = left.unwrap_or(0);
        left.is_some()
    }

    /// Sends the last record, unless another is incomplete. A client that is behind may leave no
    /// room for it in the kernel: then its send buffer grows, since nothing else will be written.
    pub(crate) fn close(&mut self, socket: &TcpStream, scratch: &mut Vec<u8>) {
        if self.rest.is_empty() {
            scratch.clear();
            self.records.close(scratch);
            let written = socket::write(socket, scratch).and_then(|written| {
                let rest = &scratch[written..];
                match rest.is_empty() || send_buffer::set(socket, send_buffer::LARGE).is_err() {
                    true => Ok(written),
                    false => socket::write(socket, rest).map(|more| written + more),
                }
            });
            if written != Ok(scratch.len()) {
                tracing::trace!("the end of its connection was not sent to the client");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream as StdStream};

    use super::*;
    use crate::record_layer::Exhausted;

    /// A record is a length of two bytes and its data. The client may send `k`.
    struct Framed;

    impl RecordLayer for Framed {
        fn encrypt(&mut self, data: &[u8], records: &mut Vec<u8>) -> Result<(), Exhausted> {
            if data == b"too much" {
                return Err(Exhausted);
            }
            records.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            records.extend_from_slice(data);
            Ok(())
        }

        fn receive(&mut self, bytes: &[u8]) -> bool {
            bytes.iter().all(|byte| *byte == b'k')
        }

        fn close(&mut self, records: &mut Vec<u8>) {
            records.extend([0, 0]);
        }
    }

    fn pair() -> (TcpStream, StdStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        (TcpStream::from_std(socket), client)
    }

    /// The data of all records up to the last.
    fn received(client: &mut StdStream) -> Vec<u8> {
        let mut data = Vec::new();
        loop {
            let mut length = [0; 2];
            client.read_exact(&mut length).unwrap();
            match usize::from(u16::from_be_bytes(length)) {
                0 => return data,
                length => {
                    let from = data.len();
                    data.resize(from + length, 0);
                    client.read_exact(&mut data[from..]).unwrap();
                }
            }
        }
    }

    #[test]
    fn a_record_that_was_written_in_part_is_finished_before_the_next_and_its_data_is_offered_again()
    {
        let (socket, mut client) = pair();
        let (mut encrypted, mut scratch) = (Encrypted::new(Framed), Vec::new());
        let sent: Vec<u8> = (0..32_u32 << 20).map(|at| (at / 7) as u8).collect();
        let expected = sent.clone();
        let reading = std::thread::spawn(move || received(&mut client) == expected);
        let (mut taken, mut parts) = (0, 0);
        while taken < sent.len() {
            // Each call offers another number of bytes beyond those that were not taken.
            let offered = sent.len().min(taken + RECORD + 1 + taken % 50_000);
            let now = encrypted.write(&socket, &sent[taken..offered], &mut scratch).unwrap();
            parts += usize::from(!encrypted.rest.is_empty());
            assert!(encrypted.rest.is_empty() || taken + now < offered, "{taken} {now} {offered}");
            assert!(encrypted.rest.len() <= RECORD + 2);
            taken += now;
        }
        encrypted.close(&socket, &mut scratch);
        assert!(reading.join().unwrap());
        assert!(parts > 0, "all records were written at once");
    }

    #[test]
    fn a_client_that_does_not_read_takes_nothing_and_one_record_is_kept() {
        let (socket, _client) = pair();
        let (mut encrypted, mut scratch) = (Encrypted::new(Framed), Vec::new());
        let bytes = vec![1; 64 << 20];
        let taken = encrypted.write(&socket, &bytes, &mut scratch).unwrap();
        assert!(taken < bytes.len());
        for _ in 0..3 {
            assert_eq!(encrypted.write(&socket, &bytes[taken..], &mut scratch), Ok(0));
        }
        assert!(encrypted.rest.capacity() <= RECORD + 2, "{}", encrypted.rest.capacity());
    }

    #[test]
    fn a_client_that_is_behind_receives_the_last_record_too() {
        let (socket, mut client) = pair();
        send_buffer::set(&socket, 16 << 10).unwrap();
        while socket::write(&socket, &[1; 100]).unwrap() > 0 {}
        Encrypted::new(Framed).close(&socket, &mut Vec::new());
        client.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
        let (mut received, mut bytes) = (vec![], [0; 4096]);
        while !received.ends_with(&[0, 0]) {
            let read = client.read(&mut bytes).unwrap();
            received.extend_from_slice(&bytes[..read]);
        }
    }

    #[test]
    fn exhausted_keys_cut_the_stream() {
        let (socket, _client) = pair();
        let written = Encrypted::new(Framed).write(&socket, b"too much", &mut Vec::new());
        assert_eq!(written, Err(EndReason::Cut));
    }

    #[track_caller]
    fn check(sent: &[u8], ends: EndReason) {
        let (socket, mut client) = pair();
        client.write_all(sent).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut encrypted = Encrypted::new(Framed);
        while socket.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {}
        assert_eq!(encrypted.read(&socket, &mut 10_000), Received::End(ends));
    }

    #[test]
    fn what_a_client_sends_ends_the_stream_unless_the_record_layer_expects_it() {
        check(b"x", EndReason::Left);
        check(b"", EndReason::Left);
        check(&[b'k'; ALLOWED as usize], EndReason::Left);
        check(&[b'k'; ALLOWED as usize + 1], EndReason::Exceeded);
        let (socket, mut client) = pair();
        let mut encrypted = Encrypted::new(Framed);
        client.write_all(b"kkk").unwrap();
        while socket.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {}
        assert_eq!(encrypted.read(&socket, &mut 10_000), Received::All);
    }

    #[test]
    fn only_so_much_is_processed_at_once_and_the_rest_later() {
        let (socket, mut client) = pair();
        let mut encrypted = Encrypted::new(Framed);
        client.write_all(&[b'k'; 600]).unwrap();
        while socket.peek(&mut [0; 600]).ok() != Some(600) {}
        let mut budget = 300;
        assert_eq!((encrypted.read(&socket, &mut budget), budget), (Received::More, 0));
        assert_eq!(socket.peek(&mut [0; 600]).unwrap(), 600 - 2 * 256);
        assert_eq!(encrypted.read(&socket, &mut budget), Received::More);
        assert_eq!(encrypted.read(&socket, &mut 300), Received::All);
    }
}
