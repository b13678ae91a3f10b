//! Serves an ingest request from its head to its response.

use std::time::Instant;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use carafe_protocol::Topic;
use http::request::Parts;
use tracing::debug;

use crate::answer::problem::Problem;
use crate::answer::progress::Progress;
use crate::api::app::App;
use crate::api::body::refuse_encoded;
use crate::api::caller::Caller;
use crate::api::ingest::answer::{Report, answer};
use crate::api::ingest::decoder::Decoder;
use crate::api::ingest::feed::{End, Feed};
use crate::api::ingest::interruption::{Interruption, Interruptions};
use crate::api::ingest::on_abort::OnAbort;
use crate::api::ingest::open_body::OpenBody;
use crate::api::ingest::request::{Form, Template};
use crate::api::ingest::stop::Stop;
use crate::api::ingest::store::Store;
use crate::api::life;
use crate::policy::client::publisher;

/// Stores the events of the body as they arrive. The body is not read if the caller may not publish
/// to the topics of the request.
pub(crate) async fn ingest(
    app: &App,
    caller: &Caller<'_>,
    (form, template): (Form, Template),
    parts: &Parts,
    body: Body,
) -> Result<Response, Problem> {
    template.check(caller)?;
    refuse_encoded(parts)?;
    let start = Instant::now();
    let (options, publisher) =
        (&app.options, publisher(&app.options.proxies, caller.identity, parts));
    let held = options.body_budget.begin(publisher, usize::MAX);
    let mut store = Store::new(&app.hub, &options.metrics, held);
    // Before anything is read: it limits how many requests are open.
    store.wait_for_room(0).await?;
    let _open = options.metrics.ingests();
    let fed = app.feeding.begin(template.topics(), template.is_private());
    let (end, since) = (template.end_on_abort(), app.hub.position());
    store.set_on_abort(OnAbort::new(&app.feeding, fed, end, since));
    let mut interruptions = Interruptions::new(&app.hub, &template, caller);
    let mut feed = Feed {
        app,
        caller,
        publisher,
        decoder: Decoder::new(form, &template, options),
        body: OpenBody::new(body, options.body_timeout),
        store,
        input: Bytes::new(),
        early: None,
        has_ended: false,
        is_deaf: false,
        reopens: template.reopens(),
    };
    let end = feed.run(&mut interruptions, template.end()).await;
    let progress = feed.store.progress();
    log(form, &template, progress, &end, start);
    let stop = match &end {
        End::Interrupted(Interruption::Stopped(topic, position)) => {
            Some(Stop::read(&app.hub, topic, *position).await)
        }
        _ => None,
    };
    let answer = answer(caller, parts.version, &Report { stop, progress }, end);
    Ok(life::tell_stop(&app.hub, template.topics(), answer))
}

fn log(form: Form, template: &Template, progress: Progress, end: &End, start: Instant) {
    let end = match end {
        End::Complete => "complete",
        End::Failed(problem) | End::Broken(problem) => problem.reason(),
        End::Interrupted(interruption) => interruption.name(),
    };
    let topic = template.topics().next().map(Topic::as_str);
    let Progress { stored, repeated, .. } = progress;
    let time = start.elapsed();
    debug!(?form, topic, stored, repeated, end, ?time, "an ingest request has ended");
}
