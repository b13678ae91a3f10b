//! `/events…`: the endpoint of streams and of events, within the layer around all answers.
//!
//! A service of its own, since most requests come here: axum boxes and clones each handler and each
//! layer for each request.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::VARY;
use http::{HeaderValue, Method};
use tower::Service;

use crate::answer::problem::Problem;
use crate::api::answers::Answers;
use crate::api::app::App;
use crate::api::{erase, publish, subscribe};

/// Answers the requests for `/events` and for topics below it.
#[derive(Clone)]
pub(crate) struct Events {
    app: App,
    answers: Arc<Answers>,
}

impl Events {
    pub(crate) fn new(app: App, answers: Arc<Answers>) -> Self {
        Self { app, answers }
    }
}

impl Service<Request> for Events {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Self { app, answers } = self.clone();
        Box::pin(async move { Ok(answers.around(request, |it| answer(&app, it)).await) })
    }
}

/// One URL is a stream and pages of history, as the client accepts.
fn varying(mut response: Response) -> Response {
    response.headers_mut().append(VARY, HeaderValue::from_static("accept"));
    response
}

async fn answer(app: &App, request: Request) -> Response {
    let answer = match *request.method() {
        Method::POST => publish::publish(app, request).await,
        Method::GET => subscribe::subscribe(app, request).await.map(varying),
        Method::HEAD => subscribe::position(app, request).await,
        Method::DELETE => erase::erase(app, request).await,
        _ => Err(Problem::wrong_method("DELETE, GET, HEAD, POST")),
    };
    answer.into_response()
}
