//! Revoked tokens at a real hub: the command, restarts, and a history that is trimmed.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Output};

use carafe_http::auth::Signer;
use serde_json::{Value, json};
use tempfile::{NamedTempFile, TempDir};

use crate::http::{Answer, Stream, request};
use crate::metrics::Metrics;
use crate::process::{Process, Server, carafe, eventually};

const SECRET: &str = "a secret of more than thirty-two bytes";

fn token(mut claims: Value) -> String {
    claims["exp"] = json!(4_000_000_000_u64);
    Signer::secret(SECRET).unwrap().sign(&claims).unwrap()
}

fn of(subject: &str) -> String {
    token(json!({"sub": subject, "publish": ["*"], "subscribe": ["*"]}))
}

fn admin() -> String {
    token(json!({"revoke": true}))
}

/// A hub on disk that can be started again.
struct Rig {
    folder: TempDir,
    secret: NamedTempFile,
    options: Vec<&'static str>,
}

impl Rig {
    fn new(options: &[&'static str]) -> Self {
        let mut secret = NamedTempFile::new().unwrap();
        secret.write_all(SECRET.as_bytes()).unwrap();
        Self { folder: TempDir::new().unwrap(), secret, options: options.to_vec() }
    }

    fn start(&self) -> Server {
        let mut command = carafe();
        let log = format!("disk:{}", self.folder.path().join("log").display());
        command.args(["serve", "--log", &log, "--listen", "127.0.0.1:0"]);
        command.args(["--metrics-listen", "127.0.0.1:0", "--secret-file"]).arg(self.secret.path());
        Server::of(Process::start(command.args(&self.options)))
    }
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

fn ask(address: SocketAddr, method: &str, target: &str, token: &str, body: &str) -> Answer {
    let headers = [&*bearer(token), "Content-Type: application/json"];
    request(address, method, target, &headers, body.as_bytes())
}

/// Whether the token is refused for publishing.
#[track_caller]
fn refuses(address: SocketAddr, token: &str) -> bool {
    let answer = ask(address, "POST", "/events/a", token, "x");
    assert!(matches!(answer.status, 201 | 401), "{}{}", answer.head, answer.body);
    answer.status == 401
}

#[track_caller]
fn revoke(address: SocketAddr, body: &Value) -> Value {
    let answer = ask(address, "POST", "/revocations", &admin(), &body.to_string());
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.json()
}

/// `carafe revoke` with these options.
fn command(address: SocketAddr, token: &str, options: &[&str]) -> Output {
    let mut command: Command = carafe();
    command.arg("revoke").args(options).args(["--url", &format!("http://{address}")]);
    command.env("CARAFE_TOKEN", token).output().unwrap()
}

#[track_caller]
fn printed(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = str::from_utf8(&output.stdout).unwrap().lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[track_caller]
fn fails(output: &Output, words: &str) {
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && printed.contains(words), "{printed}");
}

#[test]
fn the_command_revokes_lists_and_lifts() {
    let hub = Rig::new(&[]).start();
    let (address, ann) = (hub.address, of("ann"));
    let stream = Stream::open(address, "/events/a", &[&bearer(&ann)]);
    let revoked = printed(&command(address, &admin(), &["--subject", "ann", "--for", "8h"]));
    assert_eq!(revoked[0]["subject"], "ann");
    let types: Vec<_> = stream.map(|event| event.event_type).collect();
    assert_eq!(types, ["carafe.position", "carafe.expired"]);
    assert!(refuses(address, &ann) && !refuses(address, &of("bob")));
    assert_eq!(printed(&command(address, &admin(), &["--list"])), revoked);
    assert!(printed(&command(address, &admin(), &["--subject", "ann", "--lift"])).is_empty());
    assert!(!refuses(address, &ann));
    let again = command(address, &admin(), &["--subject", "ann", "--lift"]);
    fails(&again, "there is no such revocation");
    let one = token(json!({"jti": "7", "iss": "one", "publish": ["*"]}));
    printed(&command(address, &admin(), &["--token-id", "7", "--issuer", "two"]));
    assert!(!refuses(address, &one));
    printed(&command(address, &admin(), &["--token-id", "7", "--issuer", "one"]));
    assert!(refuses(address, &one));
    fails(&command(address, &ann, &["--list"]), "tokens may not be revoked");
    fails(&command(address, &admin(), &[]), "--subject");
}

#[test]
fn a_revocation_holds_after_the_hub_was_killed() {
    let rig = Rig::new(&[]);
    let (ann, bob) = (of("ann"), of("bob"));
    let hub = rig.start();
    let revoked = revoke(hub.address, &json!({"subject": "ann"}));
    revoke(hub.address, &json!({"subject": "bob"}));
    let lifted = ask(hub.address, "DELETE", "/revocations?subject=bob", &admin(), "");
    assert_eq!(lifted.status, 204);
    hub.kill();
    let hub = rig.start();
    assert!(refuses(hub.address, &ann) && !refuses(hub.address, &bob));
    assert_eq!(Metrics::of(&hub).get("carafe_revocations"), 1.0);
    let list = ask(hub.address, "GET", "/revocations", &admin(), "").json();
    assert_eq!(list["revocations"], json!([revoked]));
}

/// The history holds some files of 4 KiB. The test publishes until all files that it began with are
/// gone, and then kills the hub.
#[test]
fn a_revocation_outlives_the_history_that_it_was_stored_in() {
    let rig = Rig::new(&["--history-bytes=64KiB", "--segment-bytes=4KiB"]);
    let hub = rig.start();
    let first = revoke(hub.address, &json!({"subject": "ann"}));
    let (bob, data, metrics) = (of("bob"), "x".repeat(2000), Metrics::of(&hub));
    let offset = |position: &Value| {
        let text = position.as_str().unwrap().split('-').nth(1).unwrap();
        f64::from(text.parse::<u32>().unwrap())
    };
    // Twice: a copy is copied again.
    let mut stored = offset(&first["position"]);
    for _ in 0..2 {
        while metrics.get("carafe_history_oldest_offset") <= stored {
            assert_eq!(ask(hub.address, "POST", "/events/a", &bob, &data).status, 201);
        }
        eventually("the revocation is stored again", || {
            let list = ask(hub.address, "GET", "/revocations", &admin(), "").json();
            let position = offset(&list["revocations"][0]["position"]);
            let is_again = position > stored;
            stored = position;
            is_again
        });
    }
    assert!(metrics.get("carafe_log_bytes") < 200_000.0, "the history stays as small as it was");
    hub.kill();
    let hub = rig.start();
    assert!(refuses(hub.address, &of("ann")) && !refuses(hub.address, &bob));
}

#[test]
fn tokens_that_live_too_long_are_rejected_and_revocations_end() {
    let rig = Rig::new(&["--token-life=1h"]);
    let hub = rig.start();
    // The tokens of this test have no end that is near.
    let answer = ask(hub.address, "POST", "/events/a", &of("ann"), "x");
    assert_eq!(answer.status, 401);
    assert!(
        answer.json()["detail"].as_str().unwrap().contains("too long after `iat`"),
        "{}",
        answer.body
    );
}

#[test]
fn a_hub_says_in_its_log_and_its_metrics_whom_it_has_revoked() {
    let rig = Rig::new(&[]);
    let hub = rig.start();
    let metrics = Metrics::of(&hub);
    let mut stream = Stream::open(hub.address, "/events/a", &[&bearer(&of("ann"))]);
    assert_eq!(stream.next().unwrap().event_type, "carafe.position");
    revoke(hub.address, &json!({"subject": "ann"}));
    let record = hub.next_record(|line| line.contains("revoked tokens"));
    assert!(record.contains("ann"), "{record}");
    metrics.wait_for("carafe_streams_closed_total{path=\"shard\",reason=\"revoked\"}", 1.0);
    assert_eq!(metrics.get("carafe_revocations"), 1.0);
}
