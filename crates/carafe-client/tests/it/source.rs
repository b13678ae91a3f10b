//! What the tests of the event source share.

use std::time::Duration;

use carafe_client::{Error, EventSource, EventSourceOptions, Lost, State};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::script::Script;

/// A source that connects again soon.
pub(crate) fn source(script: &Script) -> EventSourceOptions {
    EventSource::options(script.url()).retry(Duration::ZERO)
}

/// The data of all events, and the error at the end, if there is one.
pub(crate) async fn all(mut source: EventSource) -> (Vec<String>, Option<Error>) {
    let mut data = Vec::new();
    while let Some(event) = source.next().await {
        match event {
            Ok(event) => data.push(event.data),
            Err(error) => {
                assert!(source.next().await.is_none(), "it ends after an error");
                return (data, Some(error));
            }
        }
    }
    (data, None)
}

/// Reports why connections are over.
pub(crate) fn losses(options: EventSourceOptions) -> (EventSourceOptions, UnboundedReceiver<Lost>) {
    let (report, reported) = unbounded_channel();
    let options = options.on_state(move |state| {
        if let State::Waiting { reason, .. } = state {
            // The test may have seen enough.
            let _ = report.send(reason.clone());
        }
    });
    (options, reported)
}
