//! A request that feeds a topic.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use reqwest::{Body, Response};

use crate::failed::Failed;
use crate::feed::body::FeedBody;
use crate::publisher::Publisher;
use crate::redirect::SendError;
use crate::token::TokenRequest;

/// The time limit for what a feed waits for beside the hub's work: a token, the rest of a response,
/// a request that asks what is stored.
pub(crate) const ASK: Duration = Duration::from_secs(10);

/// Opens a request, and waits for its response.
pub(crate) async fn send(
    publisher: Publisher,
    topic: String,
    token: TokenRequest,
    body: FeedBody,
) -> Result<Response, Failed> {
    let url = publisher.topic_url(&topic)?;
    let mut request = publisher
        .client()
        .post(url)
        .header(CONTENT_TYPE, "application/x-ndjson")
        .body(Body::wrap_stream(body));
    if let Some(token) = publisher.authorization(ASK, token).await? {
        request = request.header(AUTHORIZATION, token);
    }
    let response = request.send().await;
    response.map_err(|error| Failed::sending(SendError::Http(error), publisher.events_url()))
}

/// What a response without a problem document says.
pub(crate) fn refusal(response: &Response) -> String {
    let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
    match location {
        // What was sent cannot be sent elsewhere, and would be lost as a `GET`.
        Some(location) if response.status().is_redirection() => {
            format!("it redirects to {location}: a feed needs the URL of the hub itself")
        }
        _ => response.status().to_string(),
    }
}
