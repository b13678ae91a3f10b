//! Response bodies that hold something until they are sent.

use axum::body::Body;
use bytes::Bytes;

/// A body of these bytes. `held` is dropped when they are sent, or the client has left.
pub(crate) fn held_body(bytes: Vec<u8>, held: impl Send + 'static) -> Body {
    Body::from(Bytes::from_owner(HeldBytes { bytes, _held: held }))
}

struct HeldBytes<H> {
    bytes: Vec<u8>,
    _held: H,
}

impl<H> AsRef<[u8]> for HeldBytes<H> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
