//! The encryption of a connection, as a shard needs it.

/// Encrypts what a stream sends, and understands what its client sends: the record layer of a TLS
/// connection whose handshake is complete.
///
/// It does no I/O. The shard calls it between two system calls, on its thread or on that of its
/// helper: it must not block.
pub trait RecordLayer: Send + 'static {
    /// Appends records that contain `data`, and whatever has to be sent before it. The data has at
    /// most 16 KiB.
    fn encrypt(&mut self, data: &[u8], records: &mut Vec<u8>) -> Result<(), Exhausted>;

    /// Processes bytes that the client has sent. After `false`, the connection has to be closed:
    /// the client has closed it, has sent data, or has violated the protocol.
    #[must_use]
    fn receive(&mut self, bytes: &[u8]) -> bool;

    /// Appends the last record of the connection: that it is closed in order, or the alert that the
    /// client's violation requires.
    fn close(&mut self, records: &mut Vec<u8>);
}

/// The keys must not encrypt more, and cannot be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted;
