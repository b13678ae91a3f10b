//! Ends the event streams of an app when its server shuts down gracefully.

use std::pin::Pin;
use std::task::{Context, Poll};
#[cfg(feature = "hub")]
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::middleware::map_response;
use axum::response::Response;
use bytes::Bytes;
#[cfg(feature = "hub")]
use carafe_hub::{Drain, Hub};
use http_body::Frame;
use tokio::sync::watch;
#[cfg(feature = "hub")]
use tokio::time::sleep;

/// How long the hub's streams take to end under `axum::serve`. All clients reconnect afterwards, so
/// they are not ended at once.
#[cfg(feature = "hub")]
const PACE: Duration = Duration::from_secs(5);

/// Ends the streams of an app when `axum::serve` shuts down gracefully.
///
/// Without it, `with_graceful_shutdown` waits for streams that never end. It ends each
/// [`EventStream`](crate::EventStream) of the app between two events, and the streams of the hub
/// after the events that are stored by then. Handlers need not know. [`serve`](crate::serve) drains
/// without it.
///
/// ```no_run
/// use carafe_http::{HubExt, StreamDrain};
/// use carafe_hub::Hub;
/// use carafe_log::MemoryLog;
///
/// # async fn signal() {}
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let hub = Hub::new(MemoryLog::default());
/// let drain = StreamDrain::of(&hub);
/// let app = drain.attach(axum::Router::new().nest("/live", hub.router()));
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// axum::serve(listener, app).with_graceful_shutdown(drain.after(signal())).await
/// # }
/// ```
#[derive(Clone, Default)]
pub struct StreamDrain {
    #[cfg(feature = "hub")]
    hub: Option<Hub>,
    started: watch::Sender<bool>,
}

impl StreamDrain {
    /// Ends the event streams of an app's handlers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the streams of this hub, too. The hub then takes no more streams and events.
    #[cfg(feature = "hub")]
    #[must_use]
    pub fn of(hub: &Hub) -> Self {
        Self { hub: Some(hub.clone()), ..Self::default() }
    }

    /// The app, whose streams end with this drain. Routes that are added afterwards are not
    /// covered.
    pub fn attach(&self, app: Router) -> Router {
        let drain = self.clone();
        app.layer(map_response(move |response: Response| {
            let response = drain.wrap(response);
            async { response }
        }))
    }

    /// Waits for the signal, and starts to end the streams: pass it to `with_graceful_shutdown`. It
    /// completes right after the signal, so that axum accepts no more connections meanwhile.
    pub async fn after(self, signal: impl Future<Output = ()>) {
        signal.await;
        self.start();
        #[cfg(feature = "hub")]
        if let Some(hub) = self.hub {
            tokio::spawn(async move { end_streams(&hub.drain(), PACE).await });
        }
    }

    /// Ends the event streams of handlers.
    pub(crate) fn start(&self) {
        // `send_replace` stores the value even if no stream listens yet.
        self.started.send_replace(true);
    }

    /// Makes the body of a handler's event stream end with this drain. Other responses are
    /// unchanged.
    pub(crate) fn wrap(&self, mut response: Response) -> Response {
        if response.extensions_mut().remove::<EndsOnDrain>().is_none() {
            return response;
        }
        let mut started = self.started.subscribe();
        let wait = Box::pin(async move {
            // An error says that no drain is left that could start: the stream goes on.
            if started.wait_for(|started| *started).await.is_err() {
                std::future::pending::<()>().await;
            }
        });
        response.map(|body| Body::new(DrainedBody { body, started: wait }))
    }
}

/// Response extension: the body may be cut off between any two frames.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndsOnDrain;

/// The body of a handler's event stream, until the drain starts.
struct DrainedBody {
    body: Body,
    started: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl HttpBody for DrainedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // Polled first: a handler that always has events must end, too.
        if self.started.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }
}

/// Ends the open streams over `time`, a fiftieth at each step: their clients reconnect right
/// afterwards. A few streams need no pace.
#[cfg(feature = "hub")]
pub(crate) async fn end_streams(drain: &Drain, time: Duration) {
    const STEPS: u32 = 50;
    const AT_ONCE: usize = 100;
    let share = drain.open().div_ceil(STEPS as usize).max(AT_ONCE);
    // Fewer than a share ended, so none is left: new streams are rejected by then.
    while drain.end(share) == share {
        sleep(time / STEPS).await;
    }
}
