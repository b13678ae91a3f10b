//! What hyper requires of the service that answers the requests of a connection.

use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;

use http::Request;
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::service::{Service, service_fn};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::Watcher;

use crate::server::stall::{StreamExecutor, WatchedBody};

/// What answers the requests of a connection.
pub(crate) trait Answers:
    Service<
        Request<Incoming>,
        Response = http::Response<WatchedBody>,
        Error = Infallible,
        Future: Send + 'static,
    > + Send
    + 'static
{
}

impl<S> Answers for S where
    S: Service<
            Request<Incoming>,
            Response = http::Response<WatchedBody>,
            Error = Infallible,
            Future: Send + 'static,
        > + Send
        + 'static
{
}

/// Boxed: the futures around it stay small, and moving them does not copy it.
pub(crate) type BoxedConnection = Pin<Box<dyn Future<Output = Result<(), ConnectionError>> + Send>>;

pub(crate) fn serve(
    builder: &Builder<StreamExecutor>,
    socket: impl Read + Write + Send + Unpin + 'static,
    service: impl Answers,
    watcher: Watcher,
) -> BoxedConnection {
    Box::pin(watcher.watch(builder.serve_connection(socket, service).into_owned()))
}

pub(crate) type ConnectionError = Box<dyn Error + Send + Sync>;

/// Boxes the futures of responses. An HTTP/2 stream has a task, which has room for this future as
/// long as the body is sent; a boxed one is free by then.
pub(crate) fn boxed(service: impl Answers) -> impl Answers {
    service_fn(move |request| -> Pin<Box<dyn Future<Output = _> + Send>> {
        Box::pin(service.call(request))
    })
}
