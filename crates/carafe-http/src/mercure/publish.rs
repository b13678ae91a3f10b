//! `POST`: publishes one update.

use std::time::Instant;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{Request, StatusCode};

use crate::answer::limit::Limit;
use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::api::allowance;
use crate::api::body::{BodyReader, Most};
use crate::api::options::Options;
use crate::api::publication::not_stored;
use crate::mercure::form_data::{FormData, is_form};
use crate::mercure::mercure_caller::MercureCaller;
use crate::mercure::refusal::Refusal;
use crate::mercure::state::Adapter;
use crate::mercure::update::Update;
use crate::policy::body_budget::Held;
use crate::policy::client::publisher;

/// Publishes an update, and answers with its ID.
pub(crate) async fn publish(
    adapter: &Adapter,
    request: Request<Body>,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let query = FormData::parse(parts.uri.query().unwrap_or_default())?;
    let caller = MercureCaller::publisher(adapter, &query, &parts).await?;
    if !is_form(&parts.headers) {
        return Err(no_form().into());
    }
    let options = &adapter.app.options;
    let publisher = publisher(&options.proxies, caller.identity, &parts);
    // Before the body: a publisher that is too fast must not cost memory.
    allowance::take(&adapter.app, publisher, 1)?;
    // In memory three times: as received, decoded, and as data.
    let most = Most {
        bytes: form_bytes(options.event_bytes),
        limit: Limit::EventBytes,
        copies: 3,
        grows: 1,
    };
    let body = BodyReader::begin(options, publisher, &parts, body, most).await?;
    // `_held` lives until the update is stored, and with it the reservation.
    let (update, _held) = read(body, options).await?;
    update.check(caller.version, &adapter.prefix)?;
    caller.check_publish(adapter, update.publication.topics())?;
    caller.check_revoked(adapter)?;
    let start = Instant::now();
    adapter.app.hub.publish(update.publication).await.map_err(not_stored)?;
    options.metrics.stored(start);
    let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, "no-store")];
    Ok((headers, update.id).into_response())
}

/// The update in a form, and its memory reservation. The rest of the form is released.
async fn read(body: BodyReader<'_>, options: &Options) -> Result<(Update, Held), Problem> {
    let (text, mut held) = body.text().await?;
    let update = Update::parse(&FormData::parse(&text)?, options)?;
    drop(text);
    held.shrink_to(update.publication.weight());
    Ok((update, held))
}

/// The most bytes of a form: each byte of data may be escaped, and topics and other fields come
/// on top.
fn form_bytes(event_bytes: usize) -> usize {
    event_bytes.saturating_mul(3).saturating_add(64 << 10)
}

fn no_form() -> Problem {
    let detail =
        "an update is a form: send `topic` and `data` as application/x-www-form-urlencoded";
    Problem::of(ProblemKind::NoTopic, detail).with_status(StatusCode::BAD_REQUEST)
}
