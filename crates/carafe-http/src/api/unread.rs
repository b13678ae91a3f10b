//! What a refusal leaves unread of a request's body.

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

/// The most that is read for nothing, and how long it may take to come.
const BYTES: usize = 1 << 20;
const TIME: Duration = Duration::from_secs(5);

/// Reads on what nobody reads any more of a body, for a while: most clients read an answer only
/// when they have sent their request. Over HTTP/2, dropping the body would reset the stream, which
/// curl and others take for a failure while they still send. Over HTTP/1, hyper would close the
/// connection, and the system would reset it where more came: in both cases the client would not
/// learn why it was refused.
///
/// A client that waits to be told to go on (RFC 9110, 10.1.1) sends nothing, and reading would tell
/// it.
pub(crate) fn read_on(request: Request) -> Request {
    let waits = request.version() != Version::HTTP_2 && request.headers().contains_key(EXPECT);
    if waits || request.body().is_end_stream() {
        return request;
    }
    request.map(|body| Body::new(Lent(body)))
}

/// A body that is read on when it is dropped.
struct Lent(Body);

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.0.is_end_stream()
            && let Ok(runtime) = Handle::try_current()
        {
            let rest = Limited::new(std::mem::take(&mut self.0), BYTES);
            runtime.spawn(timeout(TIME, throw_away(rest)));
        }
    }
}

async fn throw_away(mut body: Limited<Body>) {
    while let Some(Ok(_)) = body.frame().await {}
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
