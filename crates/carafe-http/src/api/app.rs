//! The state that all handlers share.

use std::sync::Arc;

use carafe_hub::Hub;

use crate::api::options::Options;

/// The hub and the options of a router. Handlers get it as axum's state; it knows no handler.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) hub: Hub,
    pub(crate) options: Arc<Options>,
}

impl App {
    pub(crate) fn new(hub: Hub, options: Options) -> Self {
        Self { hub, options: Arc::new(options) }
    }
}
