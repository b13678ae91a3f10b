//! Finds out what the user of a node may do, without doing it.

use std::iter::once;

use async_nats::{HeaderMap, Request};
use futures_util::future::join_all;

use super::api::{ApiFailure, request};
use super::denied::Denied;
use super::message::STREAM;
use super::session::Session;
use crate::ATTEMPT;

/// No consumer has this name.
const NOBODY: &str = "carafe_check";

/// What the server does not permit of what a node does. Requests are sent that the server refuses
/// for another reason if it permits them. Without any answer, nothing is known to be denied.
pub(super) async fn denied(session: &Session, stream: &str, subject: String) -> Vec<Denied> {
    let of_api = [
        format!("$JS.API.STREAM.MSG.GET.{stream}"),
        format!("$JS.API.CONSUMER.CREATE.{stream}.{NOBODY}"),
        format!("$JS.FC.{stream}.{NOBODY}.1"),
    ];
    let requests = of_api.map(|subject| (subject, Request::new()));
    let requests = once((subject, nowhere())).chain(requests);
    let answers = join_all(requests.map(async |(subject, asked)| {
        match request(session, subject, asked.timeout(Some(ATTEMPT))).await {
            Err(ApiFailure::Denied(denied)) => Some(denied),
            _ => None,
        }
    }));
    answers.await.into_iter().flatten().collect()
}

/// A message that no stream stores: none has such a name.
fn nowhere() -> Request {
    let mut headers = HeaderMap::new();
    headers.insert(STREAM, "no stream");
    Request::new().headers(headers)
}
