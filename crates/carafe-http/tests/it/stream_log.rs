//! The log lines of a stream: its client, its request, its delivery path and its end.

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::Once;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use carafe_http::auth::{Key, Keys, Signer};
use carafe_http::{Options, router};
use carafe_hub::Hub;
use carafe_log::{MemoryLog, Publication};
use carafe_protocol::Topic;
use http_body_util::BodyExt;
use tower::ServiceExt;
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

const SECRET: &[u8] = b"a secret of more than thirty-two bytes";

thread_local! {
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The log lines of this thread. One subscriber serves all tests of the process: subscribers of
/// several threads change the levels of each other.
#[derive(Clone, Copy)]
pub(crate) struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.with_borrow_mut(|lines| lines.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

impl Lines {
    /// Collects the lines that this thread logs from now on, at the level debug.
    pub(crate) fn collect() -> Self {
        static START: Once = Once::new();
        START.call_once(|| {
            let log = tracing_subscriber::fmt().with_max_level(Level::DEBUG).with_ansi(false);
            log.with_writer(Self).init();
        });
        LINES.take();
        Self
    }

    pub(crate) fn text(self) -> String {
        String::from_utf8(LINES.with_borrow(Clone::clone)).unwrap()
    }

    /// The line with this message.
    #[track_caller]
    fn find(self, message: &str) -> String {
        let text = self.text();
        let line = text.lines().find(|line| line.contains(message));
        line.unwrap_or_else(|| panic!("no {message:?} in {text}")).to_owned()
    }
}

fn token() -> String {
    let expires = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(3600);
    let claims =
        serde_json::json!({"exp": expires.as_secs(), "sub": "anna", "subscribe": ["orders/*"]});
    Signer::secret(SECRET).unwrap().sign(&claims).unwrap()
}

#[tokio::test]
async fn a_stream_is_logged_with_its_identity_when_it_opens_and_when_it_ends() {
    let lines = Lines::collect();
    let (hub, mut options) = (Hub::new(MemoryLog::default()), Options::default());
    options.keys = Keys::new([Key::secret(SECRET).unwrap()]);
    let request = Request::get("/events/orders/1?topic=orders/2")
        .extension(ConnectInfo(std::net::SocketAddr::from(([192, 0, 2, 1], 4711))))
        .header("authorization", format!("Bearer {}", token()));
    let answer =
        router(hub.clone(), options).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let mut body = answer.into_body();
    let opening = body.frame().await.unwrap().unwrap().into_data().unwrap();
    hub.publish(Publication::new(Topic::new("orders/1").unwrap(), "paid")).await.unwrap();
    let event = body.frame().await.unwrap().unwrap().into_data().unwrap();
    drop(body);
    let id =
        "topics=\"orders/1, orders/2\" subject=\"anna\" client=192.0.2.1 path=hyper (elsewhere)";
    let opened = lines.find("stream opened");
    assert!(opened.contains(id), "{opened}");
    let ended = lines.find("stream ended");
    let sent = format!("events=1 bytes={} reason=\"left\"", opening.len() + event.len());
    assert!(ended.contains(id) && ended.contains("duration=") && ended.contains(&sent), "{ended}");
}
