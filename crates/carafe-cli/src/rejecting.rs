//! Rejects clients while a hub waits for something that it cannot start without.

use std::io;
use std::pin::pin;

use carafe_http::{BasePath, Listeners, Options, Readiness, ServerOptions};
use carafe_hub::Hub;
use carafe_log::MemoryLog;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::letting_in::CLIENTS_WAIT;

/// Who rejects clients, and where.
pub(crate) struct Rejecting<'a> {
    pub(crate) listeners: &'a Listeners,
    pub(crate) serving: &'a ServerOptions,
    pub(crate) base_path: &'a BasePath,
    /// What the hub waits for: `/readyz` says so.
    pub(crate) reason: &'static str,
}

impl Rejecting<'_> {
    /// Completes with the work. If that takes long, clients that come meanwhile are answered 503:
    /// without that, they would wait in the queue of the socket, and know nothing.
    pub(crate) async fn during<T>(self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        if let Ok(done) = timeout(CLIENTS_WAIT, &mut work).await {
            return done;
        }
        info!("{}: rejecting clients until then", self.reason);
        let (is_over, over) = oneshot::channel::<()>();
        match self.reject(async { drop(over.await) }) {
            // By itself: a client that leaves slowly must not delay the start.
            Ok(rejecting) => drop(tokio::spawn(rejecting)),
            Err(error) => warn!(%error, "clients have to wait"),
        }
        let done = work.await;
        drop(is_over);
        done
    }

    fn reject<U>(self, until: U) -> io::Result<impl Future<Output = ()> + Send + use<U>>
    where
        U: Future<Output = ()> + Send + 'static,
    {
        let reason = self.reason;
        let mut access = Options::default();
        access.base_path = self.base_path.clone();
        access.readiness = Readiness::closed().with_reason(move || Some(reason.into()));
        let hub = Hub::new(MemoryLog::default());
        let app = carafe_http::router(hub.clone(), access);
        let (listeners, serving) = (self.listeners.try_clone()?, self.serving.clone());
        Ok(async move {
            if let Err(error) = carafe_http::serve(listeners, app, &hub, serving, until).await {
                warn!(%error, "clients have to wait");
            }
        })
    }
}
