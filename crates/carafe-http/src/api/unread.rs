//! Reads the rest of a request body after its request was rejected.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http::Version;
use http::header::EXPECT;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use tokio::runtime::Handle;
use tokio::time::timeout;

/// The most bytes that are discarded, and how long that may take.
const BYTES: usize = 1 << 20;
const TIME: Duration = Duration::from_secs(5);

/// Makes the body be read on for a while when it is dropped.
///
/// Most clients read a response only after they have sent the whole request. Dropping the body over
/// HTTP/2 resets the stream, which curl and others report as a failure. Over HTTP/1, hyper closes
/// the connection, and the system resets it if more bytes arrive. In both cases the client would
/// not see why it was rejected.
///
/// A client that waits for `100 Continue` (RFC 9110, 10.1.1) sends nothing; reading would tell it
/// to go on.
pub(crate) fn read_on(request: Request) -> Request {
    let waits = request.version() != Version::HTTP_2 && request.headers().contains_key(EXPECT);
    if request.body().is_end_stream() {
        return request;
    }
    request.map(|body| Body::new(Lent { body, waits }))
}

/// A body whose rest is read when it is dropped.
struct Lent {
    body: Body,
    /// The client waits for `100 Continue`, which it gets when the body is first read.
    waits: bool,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.waits
            && !self.body.is_end_stream()
            // Outside the runtime, as during its shutdown, the body is just dropped.
            && let Ok(runtime) = Handle::try_current()
        {
            let rest = Limited::new(std::mem::take(&mut self.body), BYTES);
            runtime.spawn(timeout(TIME, throw_away(rest)));
        }
    }
}

async fn throw_away(mut body: Limited<Body>) {
    // Ends at the limit, too: `Limited` returns an error there.
    while let Some(Ok(_)) = body.frame().await {}
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.waits = false;
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
