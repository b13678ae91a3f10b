//! Whether a hub serves clients yet, and whether load balancers shall send it new ones.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a hub that is starting says if there is no other reason.
const STARTING: &str = "the hub is starting";

/// Whether a hub takes work. Clones are handles to the same state.
///
/// By default, it does. A hub whose log is still being filled starts [closed](Self::closed): it
/// rejects requests with 503, and streams are told to come back. Health checks are answered all
/// the time. Besides, `/readyz` returns 503 while there is a reason why load balancers should send
/// clients to another node. Clients that come all the same are served.
///
/// ```
/// use carafe_http::{Options, Readiness};
///
/// let mut options = Options::default();
/// options.readiness = Readiness::closed().with_reason(|| Some("3 of 10 read".into()));
/// // Later, when everything is read:
/// options.readiness.open();
/// ```
#[derive(Clone, Default)]
pub struct Readiness {
    /// `None` for a hub that has always been open.
    opened: Option<Arc<AtomicBool>>,
    reason: Option<Arc<dyn Fn() -> Option<String> + Send + Sync>>,
}

impl Readiness {
    /// No client is served until the hub [opens](Self::open).
    #[must_use]
    pub fn closed() -> Self {
        Self { opened: Some(Arc::default()), reason: None }
    }

    /// Asks this at each health check, and at each request while the hub is closed.
    #[must_use]
    pub fn with_reason(self, reason: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        Self { reason: Some(Arc::new(reason)), ..self }
    }

    /// Serves clients from now on.
    pub fn open(&self) {
        self.opened.iter().for_each(|opened| opened.store(true, Ordering::Release));
    }

    /// Why no client is served, if that is so.
    pub(crate) fn why_closed(&self) -> Option<String> {
        // Acquire: what was done before the hub opened is seen by the requests after it.
        let is_open = |opened: &Arc<AtomicBool>| opened.load(Ordering::Acquire);
        match self.opened.as_ref().is_none_or(is_open) {
            true => None,
            false => Some(self.reason().unwrap_or_else(|| STARTING.into())),
        }
    }

    /// Why load balancers should send clients to another node, if they should.
    pub(crate) fn why_not_ready(&self) -> Option<String> {
        self.why_closed().or_else(|| self.reason())
    }

    fn reason(&self) -> Option<String> {
        self.reason.as_ref().and_then(|reason| reason())
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Readiness").field(&self.why_not_ready()).finish()
    }
}
