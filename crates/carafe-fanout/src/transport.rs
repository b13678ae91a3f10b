//! The connection of a stream: its socket, and its encryption if it has one.

use std::net::TcpStream as StdStream;

use mio::event::Event;
use mio::net::TcpStream;

use crate::encrypted::{Encrypted, Received};
use crate::end_reason::EndReason;
use crate::record_layer::RecordLayer;
use crate::socket;

/// The connection of a stream. Its socket must not block.
pub struct Transport {
    pub(crate) socket: TcpStream,
    /// The number of the client, once it has one. It is here, where it fits into padding.
    pub(crate) number: u32,
    /// Boxed: most streams have none, and there may be a million.
    encrypted: Option<Box<Encrypted>>,
}

impl From<StdStream> for Transport {
    /// A cleartext connection.
    fn from(socket: StdStream) -> Self {
        Self { socket: TcpStream::from_std(socket), number: 0, encrypted: None }
    }
}

impl Transport {
    /// A connection whose bytes pass through a record layer.
    #[must_use]
    pub fn encrypted(socket: StdStream, records: impl RecordLayer) -> Self {
        Self { encrypted: Some(Box::new(Encrypted::new(records))), ..Self::from(socket) }
    }

    /// Writes what the kernel has room for. Unless that is all, the next call must begin with the
    /// bytes that were not taken.
    pub(crate) fn write(
        &mut self,
        bytes: &[u8],
        records: &mut Vec<u8>,
    ) -> Result<usize, EndReason> {
        match &mut self.encrypted {
            None => socket::write(&self.socket, bytes),
            Some(encrypted) => encrypted.write(&self.socket, bytes, records),
        }
    }

    /// What the client did. The budget is for the records that are processed.
    pub(crate) fn receive(&mut self, event: &Event, budget: &mut usize) -> Received {
        let ends = match &mut self.encrypted {
            _ if event.is_error() => Some(socket::why_closed(&self.socket)),
            // The client may have said that it closes before it did.
            Some(encrypted) if event.is_readable() => {
                return encrypted.read(&self.socket, budget);
            }
            None if event.is_readable() && !event.is_read_closed() => socket::read(&self.socket),
            // Without an error of the socket, the client has closed.
            _ => event.is_read_closed().then_some(EndReason::Left),
        };
        ends.map_or(Received::All, Received::End)
    }

    /// Processes records that the budget was too small for.
    pub(crate) fn receive_more(&mut self, budget: &mut usize) -> Received {
        match &mut self.encrypted {
            Some(encrypted) => encrypted.read(&self.socket, budget),
            None => Received::All,
        }
    }

    /// Tells the client that nothing more comes, if the encryption has a word for it. The socket is
    /// to be closed then.
    pub(crate) fn close(mut self, records: &mut Vec<u8>) -> TcpStream {
        if let Some(encrypted) = &mut self.encrypted {
            encrypted.close(&self.socket, records);
        }
        self.socket
    }
}
