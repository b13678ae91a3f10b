//! `DELETE /events/{topic}`: erases the events of a topic, or one of them.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use carafe_hub::{EraseError, EraseOne};
use carafe_protocol::{Position, Topic};
use http::{Request, StatusCode};

use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::api::allowance;
use crate::api::app::App;
use crate::api::caller::Caller;
use crate::api::publication::not_stored;
use crate::api::published::with_position;
use crate::api::query::Query;
use crate::api::topic::topic_in_path;
use crate::policy::client::{hub_client, publisher};

const PARAMETERS: &[&str] = &["id"];

/// Erases all events of the topic, or the one at the position `id`.
pub(crate) async fn erase(app: &App, request: Request<Body>) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let caller = Caller::of(app, &mut parts).await?;
    let Some(topic) = topic_in_path(&parts.uri)? else {
        return Err(Problem::wrong_method("GET, HEAD, POST"));
    };
    caller.may(|rights| &rights.erase, [&topic], "may be erased")?;
    let query = Query::parse(parts.uri.query(), PARAMETERS)?;
    let event = query.one("id")?.map(position).transpose()?;
    check_nothing_else(parts.uri.query(), event.is_some())?;
    allowance::take(app, publisher(&app.options.proxies, caller.identity, &parts), 1)?;
    match event {
        None => Ok(with_position(StatusCode::OK, app.hub.erase(topic).await.map_err(not_stored)?)),
        Some(event) => {
            let client = hub_client(&app.options.proxies, caller.identity, &parts);
            one(&topic, app.hub.erase_one(&topic, event, client).await)
        }
    }
}

fn one(topic: &Topic, outcome: Result<EraseOne, EraseError>) -> Result<Response, Problem> {
    match outcome {
        Ok(EraseOne::Erased(position)) => Ok(with_position(StatusCode::OK, position)),
        Ok(EraseOne::ErasedBefore) => Ok(StatusCode::NO_CONTENT.into_response()),
        // The same for an event of another topic: nothing is said of events whose topics are not
        // granted.
        Ok(EraseOne::NotFound) => {
            let detail = format!(
                "the topic `{topic}` has no event with this ID: it was trimmed, or never was"
            );
            Err(Problem::of(ProblemKind::NotFound, detail))
        }
        Err(EraseError::Publish(error)) => Err(not_stored(error)),
        Err(error) => Err(Problem::try_again(error.to_string())),
    }
}

/// Other requests ignore unknown parameters. Here a misspelt `id` would erase the whole topic.
fn check_nothing_else(query: Option<&str>, has_id: bool) -> Result<(), Problem> {
    let parameters = query.unwrap_or_default().split('&').filter(|part| !part.is_empty()).count();
    if parameters == usize::from(has_id) {
        return Ok(());
    }
    let detail = "nothing was erased: the query may have `id` only, which names one event";
    Err(Problem::of(ProblemKind::BadParameter, detail))
}

fn position(text: &str) -> Result<Position, Problem> {
    text.parse().map_err(|_| {
        let detail = "`id` is not the ID of an event: use the `id` that it was received with";
        Problem::of(ProblemKind::BadParameter, detail)
    })
}
