//! Nodes decide alike over what has left the history of some of them.

use std::io::Write;
use std::net::SocketAddr;

use carafe_http::auth::Signer;
use carafe_testing::nats::is_here;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::http::{get, post, publish, request};
use crate::process::eventually;

use super::nodes::{Copy, Nodes};

const SECRET: &str = "a secret of more than thirty-two bytes";

fn bearer(mut claims: Value) -> String {
    claims["exp"] = json!(4_000_000_000_u64);
    format!("Authorization: Bearer {}", Signer::secret(SECRET).unwrap().sign(&claims).unwrap())
}

/// What every node has to know, although its history has none of it any more.
struct Known {
    first: String,
    token: String,
}

impl Known {
    fn begin(node: SocketAddr) -> Self {
        let first = publish(node, "/events/a?id=k", "once");
        assert!(post(node, "/events/jobs/7?end=done", "").status < 300);
        let token = bearer(json!({"sub": "ann", "publish": ["*"]}));
        let headers = [&*bearer(json!({"revoke": true})), "Content-Type: application/json"];
        let body = json!({"subject": "ann"}).to_string();
        let revoked = request(node, "POST", "/revocations", &headers, body.as_bytes());
        assert_eq!(revoked.status, 201, "{}", revoked.body);
        Self { first, token }
    }

    fn check(&self, node: SocketAddr) {
        let again = post(node, "/events/a?id=k", "twice");
        assert_eq!((again.status, again.json()["id"].as_str()), (200, Some(&*self.first)));
        let late = post(node, "/events/jobs/7", "late");
        assert_eq!(late.status, 409, "{}", late.body);
        let headers = [&*self.token, "Content-Type: text/plain"];
        assert_eq!(request(node, "POST", "/events/a", &headers, b"x").status, 401);
    }
}

#[test]
fn keys_ends_and_revocations_hold_beyond_a_short_history_and_after_a_restart() {
    if !is_here("keys_ends_and_revocations_hold_beyond_a_short_history_and_after_a_restart") {
        return;
    }
    let mut secret = NamedTempFile::new().unwrap();
    secret.write_all(SECRET.as_bytes()).unwrap();
    let secret = secret.path().to_str().unwrap();
    let options = ["--history-events", "100", "--secret-file", secret];
    let mut nodes = Nodes::start(1, &[Copy::Memory, Copy::Disk], &options);
    let known = Known::begin(nodes.address(0));
    (0..400).for_each(|number| drop(publish(nodes.address(number % 2), "/events/b", "later")));
    for node in 0..2 {
        eventually("the event has left the history", || {
            !get(nodes.address(node), "/events/a?earliest&format=json").body.contains("once")
        });
        known.check(nodes.address(node));
    }
    for node in 0..2 {
        nodes.kill(node);
        nodes.start_node(node);
        let address = nodes.address(node);
        eventually("the node has filled", || get(address, "/readyz").status == 200);
        known.check(address);
    }
}
