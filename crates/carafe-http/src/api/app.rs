//! The state that all handlers share.

use std::sync::Arc;

use carafe_hub::Hub;

use crate::api::ingest::feeding::Feeding;
use crate::api::options::{Options, Page};
use crate::observe::audience::Audience;

/// The hub and the options of a router. Handlers get it as axum's state; it knows no handler.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) hub: Hub,
    pub(crate) options: Arc<Options>,
    /// What the open streams request, for the console.
    pub(crate) audience: Option<Audience>,
    /// The topics with open ingest requests.
    pub(crate) feeding: Feeding,
}

impl App {
    pub(crate) fn new(hub: Hub, options: Options) -> Self {
        options.revocations.attach(&hub, options.metrics.revocations());
        let audience = matches!(options.page, Page::Console).then(Audience::default);
        Self { hub, options: Arc::new(options), audience, feeding: Feeding::default() }
    }
}
