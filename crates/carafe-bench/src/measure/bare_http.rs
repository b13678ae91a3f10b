//! The floor of HTTP: a bare server of hyper that reads each request and answers 201.

use std::convert::Infallible;
use std::net::Ipv4Addr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::outcome::Outcome;

/// As long as a hub's answer.
const ANSWER: &str = r#"{"id":"cb8c81ff4a97-00000000000000000001-0000000a"}"#;

/// Serves until killed.
pub(crate) fn serve() -> Outcome {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        eprintln!("listening on http://{}", listener.local_addr()?);
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            tokio::spawn(serve_one(socket));
        }
    })
}

async fn serve_one(socket: TcpStream) {
    let service = service_fn(answer);
    // A client that leaves ends its own connection.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_whole = request.into_body().collect().await.is_ok();
    let mut response = Response::new(Full::from(ANSWER));
    *response.status_mut() = if is_whole { StatusCode::CREATED } else { StatusCode::BAD_REQUEST };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
