//! The body of a page.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::policy::subscribers::Permit;

/// The bytes of a page. It counts as an open stream until they are sent, or the client has left.
pub(crate) struct PageBody {
    bytes: Option<Bytes>,
    _permit: Permit,
}

impl PageBody {
    pub(crate) fn new(bytes: Bytes, permit: Permit) -> Self {
        Self { bytes: Some(bytes), _permit: permit }
    }
}

impl http_body::Body for PageBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
