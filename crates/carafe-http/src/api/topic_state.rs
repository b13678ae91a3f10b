//! What `HEAD` says of one topic: where a producer that comes back goes on.

use carafe_hub::{Access, TopicTail};
use carafe_log::{IdempotencyKey, ReadError};
use carafe_protocol::Topic;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::answer::headers::{LAST_KEY, LAST_POSITION};
use crate::answer::problem::Problem;
use crate::api::app::App;
use crate::api::caller::Caller;
use crate::policy::client::hub_client;

/// What is encoded beside bytes that are not ASCII. Spaces at the ends of a header are lost.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// The state of the only topic of a request, for a caller that may publish to it or read it.
/// `may_read` says whether the request may be read.
pub(crate) async fn headers(
    app: &App,
    caller: &Caller<'_>,
    parts: &Parts,
    topic: Option<&Topic>,
    may_read: Result<(), Problem>,
) -> Result<HeaderMap, Problem> {
    let feeds = topic.is_some_and(|topic| caller.may_publish_to([topic]).is_ok());
    if !feeds {
        may_read?;
    }
    let Some(topic) = topic else { return Ok(HeaderMap::new()) };
    // Whoever feeds a topic has to know what it has sent, private events too.
    let access = if feeds { Access::all() } else { caller.rights.subscribe.clone() };
    let client = hub_client(&app.options.proxies, caller.identity, parts);
    let try_again = |error: ReadError| Problem::try_again(error.to_string());
    if feeds {
        // A producer that came from another node must not send again what that has stored.
        app.hub.catch_up().await.map_err(try_again)?;
    }
    app.hub.topic_tail(topic, &access, client).await.map(of_tail).map_err(try_again)
}

fn of_tail(TopicTail { position, key, .. }: TopicTail) -> HeaderMap {
    let position = position.map(|position| (LAST_POSITION, position.to_string()));
    let key = key.as_ref().map(|key| (LAST_KEY, encoded(key)));
    let values = position.into_iter().chain(key);
    // What is written here has only visible ASCII, so none is skipped.
    values.filter_map(|(name, text)| Some((name, HeaderValue::from_str(&text).ok()?))).collect()
}

fn encoded(key: &IdempotencyKey) -> String {
    utf8_percent_encode(key.as_str(), ENCODED).to_string()
}
