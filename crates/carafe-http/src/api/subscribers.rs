//! `GET /console/subscribers?topic=…`: how many streams request each topic, for the console.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use carafe_hub::Subscribe;
use carafe_protocol::Topic;
use http::header::CACHE_CONTROL;

use crate::answer::problem::Problem;
use crate::api::app::App;
use crate::api::caller::Caller;
use crate::api::query::Query;
use crate::api::refusal::refusal;
use crate::api::topic::topic;
use crate::observe::audience::{Audience, streams_of};
use crate::policy::client::hub_client;

/// The number of streams by topic, as JSON. Clients that may not subscribe to one of the topics are
/// refused, as they are for a stream.
pub(crate) async fn subscribers(
    State(app): State<App>,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let caller = Caller::of(&app, &mut parts).await?;
    let client = hub_client(&app.options.proxies, caller.identity, &parts);
    let query = Query::parse(parts.uri.query(), &["topic"])?;
    let topics = query.all("topic").map(topic).collect::<Result<Vec<Topic>, _>>()?;
    let may = app.hub.check_matchers(topics.len(), 0, client).and_then(|()| {
        let matchers = topics.iter().cloned().map(Into::into);
        Subscribe::to_all(matchers).with_access(caller.rights.subscribe.clone()).check()
    });
    may.map_err(|error| refusal(&caller, &error))?;
    let snapshot = app.audience.as_ref().map(Audience::snapshot).unwrap_or_default();
    // Tests of many patterns are expensive work, and give way like their compilation.
    let count = move || {
        let of = |topic: &Topic| (topic.as_str().to_owned(), streams_of(topic, &snapshot));
        topics.iter().map(of).collect::<BTreeMap<_, _>>()
    };
    let streams = app.hub.compile(client, count).await;
    Ok(([(CACHE_CONTROL, "no-store")], Json(streams)).into_response())
}
