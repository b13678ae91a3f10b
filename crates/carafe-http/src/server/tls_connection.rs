//! A TLS connection without I/O: rustls' unbuffered connection, and the bytes on their way to it.
//!
//! The handshake, hyper's requests and responses, and an event stream in a shard all use the same
//! connection. It holds no buffers while nothing is under way. The buffered connection of rustls
//! and the sockets around it keep theirs, which takes ten times the memory of the keys.

use std::sync::Arc;

use carafe_fanout::{Exhausted, RecordLayer};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{Error, ProtocolVersion, ServerConfig};

/// What a record adds to its data, at most (TLS 1.2 with an explicit nonce); and an alert.
const OVERHEAD: usize = 29;

pub(crate) struct TlsConnection {
    rustls: Box<UnbufferedServerConnection>,
    /// Received bytes that are not processed: an incomplete record or handshake message.
    received: Vec<u8>,
    /// Records that are to be sent before any other: of the handshake, and alerts.
    answers: Vec<u8>,
    /// The peer has violated the protocol. rustls must not be asked again.
    has_failed: bool,
}

/// Whether the peer may send more.
/// The most received bytes that wait for more. A record has 18 KiB at most, and a handshake message
/// of a client without a certificate a few KiB.
const MAX_UNPROCESSED: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Open,
    /// It has said that it sends nothing more.
    Closed,
}

impl TlsConnection {
    pub(crate) fn new(config: Arc<ServerConfig>) -> Result<Self, Error> {
        let rustls = Box::new(UnbufferedServerConnection::new(config)?);
        Ok(Self { rustls, received: Vec::new(), answers: Vec::new(), has_failed: false })
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.rustls.is_handshaking()
    }

    /// The protocol that was agreed on by ALPN.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.rustls.alpn_protocol()
    }

    pub(crate) fn is_tls_1_3(&self) -> bool {
        self.rustls.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// Processes received bytes, and appends the data in them. After an error, the answers have the
    /// alert, and nothing else can be sent.
    pub(crate) fn receive(&mut self, bytes: &[u8], data: &mut Vec<u8>) -> Result<Peer, Error> {
        if self.has_failed {
            return Err(Error::General("the connection has failed".into()));
        }
        self.received.extend_from_slice(bytes);
        let received = self.process(data).and_then(|peer| self.check_unprocessed(peer));
        if received.is_err() {
            self.has_failed = true;
            self.queue_alert();
        }
        if self.received.is_empty() {
            self.received = Vec::new();
        }
        received
    }

    /// Bounds what waits for the rest of a record or of a handshake message. rustls bounds the
    /// message, but not the records that it is sent in: each may have one byte of it and 16 KiB of
    /// padding (RFC 8446, 5.4), and all of them wait.
    fn check_unprocessed(&self, peer: Peer) -> Result<Peer, Error> {
        match self.received.len() {
            0..=MAX_UNPROCESSED => Ok(peer),
            _ => Err(Error::General("a handshake message is sent in too many bytes".into())),
        }
    }

    fn process(&mut self, data: &mut Vec<u8>) -> Result<Peer, Error> {
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.rustls.process_tls_records(&mut self.received);
            let peer = match state? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        data.extend_from_slice(record.payload);
                    }
                    None
                }
                ConnectionState::EncodeTlsData(mut message) => {
                    encode(&mut message, &mut self.answers)?;
                    None
                }
                ConnectionState::TransmitTlsData(transmit) => {
                    transmit.done();
                    None
                }
                ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) => {
                    Some(Peer::Open)
                }
                ConnectionState::PeerClosed | ConnectionState::Closed => Some(Peer::Closed),
                // Early data is not enabled: it could be replayed.
                state => return Err(Error::General(format!("unexpected: {state:?}"))),
            };
            self.received.drain(..discard);
            if let Some(peer) = peer {
                return Ok(peer);
            }
        }
    }

    /// Takes the alert that rustls has queued. Received bytes are not processed then, since queued
    /// records come first.
    fn queue_alert(&mut self) {
        while self.rustls.wants_write() {
            let state = self.rustls.process_tls_records(&mut self.received).state;
            let Ok(ConnectionState::EncodeTlsData(mut message)) = state else { return };
            if encode(&mut message, &mut self.answers).is_err() {
                return;
            }
        }
    }

    /// Moves the records that are to be sent before any other.
    pub(crate) fn take_answers(&mut self, records: &mut Vec<u8>) {
        records.append(&mut self.answers);
        self.answers = Vec::new();
    }

    /// Lets rustls write when nothing else is to be sent before.
    fn write_traffic<T>(
        &mut self,
        records: &mut Vec<u8>,
        write: impl FnOnce(&mut WriteTraffic<'_, ServerConnectionData>, &mut Vec<u8>) -> T,
    ) -> Result<T, Exhausted> {
        while !self.has_failed {
            self.take_answers(records);
            match self.rustls.process_tls_records(&mut self.received).state {
                Ok(ConnectionState::EncodeTlsData(mut message)) => {
                    encode(&mut message, records).map_err(|_| Exhausted)?;
                }
                Ok(ConnectionState::TransmitTlsData(transmit)) => transmit.done(),
                // It may still be sent something.
                Ok(ConnectionState::PeerClosed) => {}
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    return Ok(write(&mut traffic, records));
                }
                Ok(_) | Err(_) => self.has_failed = true,
            }
        }
        Err(Exhausted)
    }
}

impl RecordLayer for TlsConnection {
    /// rustls replaces the keys before they have encrypted too many records (RFC 8446, 5.5).
    fn encrypt(&mut self, data: &[u8], records: &mut Vec<u8>) -> Result<(), Exhausted> {
        self.write_traffic(records, |traffic, records| {
            append(records, data.len() + OVERHEAD, |room| {
                traffic.encrypt(data, room).map_err(|error| required_by(&error))
            })
        })?
    }

    fn receive(&mut self, bytes: &[u8]) -> bool {
        let mut data = Vec::new();
        self.receive(bytes, &mut data) == Ok(Peer::Open) && data.is_empty()
    }

    fn close(&mut self, records: &mut Vec<u8>) {
        // After a failure, the alert is among the answers, and nothing follows it.
        self.take_answers(records);
        let _ = self.write_traffic(records, |traffic, records| {
            append(records, OVERHEAD, |room| {
                traffic.queue_close_notify(room).map_err(|error| required_by(&error))
            })
        });
    }
}

fn encode(
    message: &mut EncodeTlsData<'_, ServerConnectionData>,
    records: &mut Vec<u8>,
) -> Result<(), Error> {
    let appended = append(records, OVERHEAD, |room| {
        message.encode(room).map_err(|error| match error {
            EncodeError::InsufficientSize(size) => Some(size.required_size),
            EncodeError::AlreadyEncoded => None,
        })
    });
    appended.map_err(|Exhausted| Error::General("a record was encoded already".into()))
}

/// The room that has to be there; `None` if room does not help.
fn required_by(error: &EncryptError) -> Option<usize> {
    match error {
        EncryptError::InsufficientSize(size) => Some(size.required_size),
        EncryptError::EncryptExhausted => None,
    }
}

/// Appends what `write` writes: into so much room first, and then into as much as it requires.
fn append(
    records: &mut Vec<u8>,
    mut room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
) -> Result<(), Exhausted> {
    let from = records.len();
    loop {
        records.resize(from + room, 0);
        let written = write(&mut records[from..]);
        records.truncate(from + written.unwrap_or(0));
        match written {
            Ok(_) => return Ok(()),
            // Growing room ends the loop, whatever the library requires.
            Err(Some(required)) if required > room => room = required,
            Err(_) => return Err(Exhausted),
        }
    }
}
