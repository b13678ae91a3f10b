//! The example with an app's own users: a session decides what its user sees.

#[allow(dead_code, reason = "its `main` is for `cargo run --example sessions`")]
#[path = "../../examples/sessions.rs"]
mod example;

use std::net::SocketAddr;
use std::time::Duration;

use carafe::server::{ServerOptions, serve};
use carafe::{Hub, MemoryLog};
use example::{Sessions, app};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::http::{Stream, request};

/// The example, served by `carafe::server::serve` or by axum.
struct Example {
    address: SocketAddr,
    _runtime: Runtime,
}

impl Example {
    fn serve(session: Duration, with_shards: bool) -> Self {
        let hub = Hub::new(MemoryLog::default());
        let app = app(&hub, Sessions::new(session));
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            if with_shards {
                let forever = std::future::pending();
                serve(listener, app, &hub, ServerOptions::default(), forever).await.unwrap();
            } else {
                axum::serve(listener, app).await.unwrap();
            }
        });
        Self { address, _runtime: runtime }
    }

    /// The header with the cookie of a new session.
    fn log_in(&self, user: u32) -> String {
        let answer = request(self.address, "POST", &format!("/login/{user}"), &[], b"");
        let cookie = answer.header("set-cookie").expect("a login sets a cookie");
        format!("cookie: {}", cookie.split(';').next().unwrap())
    }

    fn status(&self, method: &str, target: &str, headers: &[&str]) -> u16 {
        request(self.address, method, target, headers, b"one lungo").status
    }

    #[track_caller]
    fn check_shows_each_user_their_own_events(&self) {
        let (anna, ben) = (self.log_in(7), self.log_in(8));
        let mut own = Stream::open(self.address, "/live/events/users/7/orders", &[&anna]);
        assert_eq!(self.status("POST", "/orders", &[&anna]), 201);
        assert_eq!(own.data(1), ["one lungo"], "a private event of the user");

        let others = "/live/events/users/7/orders";
        assert_eq!(self.status("GET", others, &[&ben]), 403);
        assert_eq!(self.status("GET", others, &[]), 401);
        assert_eq!(self.status("POST", others, &[&anna]), 403, "only the app publishes");
    }
}

#[test]
fn each_user_sees_their_own_private_events_with_shards_and_under_axum() {
    for with_shards in [true, false] {
        let example = Example::serve(Duration::from_secs(3600), with_shards);
        example.check_shows_each_user_their_own_events();
    }
}

#[test]
fn a_stream_ends_with_the_session_of_its_user() {
    for with_shards in [true, false] {
        let example = Example::serve(Duration::from_secs(1), with_shards);
        let anna = example.log_in(7);
        let mut own = Stream::open(example.address, "/live/events/users/7/orders", &[&anna]);
        own.text_until("event: carafe.expired\n");
        assert_eq!(example.status("GET", "/live/events/users/7/orders", &[&anna]), 401);
    }
}
