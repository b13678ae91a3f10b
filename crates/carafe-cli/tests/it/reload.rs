//! Limits and origins that are read again while streams stay open.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::http::{Stream, get, post, publish, request};
use crate::limits::reconnect_delay;
use crate::process::Server;

/// A hub with a file of options.
struct Configured {
    hub: Server,
    file: PathBuf,
    _folder: TempDir,
}

impl Configured {
    fn start(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("carafe.toml");
        fs::write(&file, text).unwrap();
        let hub = Server::start(&["--config", file.to_str().unwrap()]);
        Self { hub, file, _folder: folder }
    }

    /// Writes the file again, signals the hub, and waits until it logs this.
    #[track_caller]
    fn change(&self, text: &str, logged: &str) -> String {
        fs::write(&self.file, text).unwrap();
        self.hub.hang_up();
        self.hub.next_record(|line| line.contains(logged))
    }

    fn origin(&self, origin: &str) -> Option<String> {
        let answer =
            request(self.hub.address, "HEAD", "/events/a", &[&format!("Origin: {origin}")], b"");
        answer.header("access-control-allow-origin").map(Into::into)
    }
}

const RELOADED: &str = "reloaded the limits and origins";

#[test]
fn limits_and_origins_are_read_again_and_a_stream_stays_open() {
    let (a, b) = ("https://a.example", "https://b.example");
    let configured = Configured::start(&format!("subscribers = 1\nallow-origin = [\"{a}\"]\n"));
    let at = configured.hub.address;
    let mut stream = Stream::open(at, "/events/a", &[]);
    reconnect_delay(&get(at, "/events/a"));
    assert_eq!((configured.origin(a), configured.origin(b)), (Some(a.into()), None));

    configured.change(&format!("subscribers = 2\nallow-origin = [\"{b}\"]\n"), RELOADED);
    let mut second = Stream::open(at, "/events/a", &[]);
    reconnect_delay(&get(at, "/events/a"));
    assert_eq!((configured.origin(a), configured.origin(b)), (None, Some(b.into())));
    publish(at, "/events/a", "x");
    assert_eq!((stream.data(1), second.data(1)), (vec!["x".into()], vec!["x".into()]));

    configured.change("subscribers-per-address = 1\npublish-rate = \"1/h\"\n", RELOADED);
    reconnect_delay(&get(at, "/events/a"));
    assert_eq!((post(at, "/events/a", "y").status, post(at, "/events/a", "z").status), (201, 429));
    assert_eq!((stream.data(1), second.data(1)), (vec!["y".into()], vec!["y".into()]));
    configured.change("", RELOADED);
    assert_eq!(post(at, "/events/a", "z").status, 201);
}

#[test]
fn a_file_that_changes_is_read_without_a_signal() {
    let configured = Configured::start("subscribers = 0\n");
    reconnect_delay(&get(configured.hub.address, "/events/a"));
    fs::write(&configured.file, "subscribers = 10\n").unwrap();
    configured.hub.next_record(|line| line.contains(RELOADED));
    Stream::open(configured.hub.address, "/events/a", &[]);
}

#[test]
fn a_bad_file_is_reported_and_the_previous_settings_stay_in_use() {
    let configured = Configured::start("subscribers = 0\n");
    for (text, reason) in [
        ("subscribers = \"many\"", "expected a whole number"),
        ("nope = 1", "unknown option `nope`"),
    ] {
        let record = configured.change(text, "cannot reload the limits and origins");
        assert!(record.contains("ERROR") && record.contains(reason), "{record}");
        reconnect_delay(&get(configured.hub.address, "/events/a"));
    }
    fs::remove_file(&configured.file).unwrap();
    configured.hub.hang_up();
    configured
        .hub
        .next_record(|line| line.contains("cannot reload") && line.contains("cannot read"));
    reconnect_delay(&get(configured.hub.address, "/events/a"));
}

#[test]
fn a_signal_logs_what_changed_and_what_needs_a_restart() {
    let configured = Configured::start("subscribers = 1\nheartbeat = \"20s\"\n");
    let changed = "subscribers = 2\nheartbeat = \"30s\"\nretain = [\"a/*=1h\"]\n";
    let late = configured.change(changed, "restart the hub to use");
    assert!(late.contains("WARN"), "{late}");
    assert!(late.contains("retain a/*=1h (is unset); heartbeat 30s (is 20s)"), "{late}");
    let now = configured.hub.next_record(|line| line.contains(RELOADED));
    assert!(now.contains("subscribers is 2, was 1"), "{now}");

    // Nothing has changed, and a restart is still needed.
    configured.hub.hang_up();
    configured.hub.next_record(|line| line.contains("heartbeat 30s (is 20s)"));
    configured
        .hub
        .next_record(|line| line.contains(RELOADED) && line.contains("nothing has changed"));
    let now = configured.change("heartbeat = \"20s\"\n", RELOADED);
    assert!(now.contains("subscribers is unset, was 2"), "{now}");
}

#[test]
fn a_signal_with_nothing_to_reload_says_so() {
    let hub = Server::start(&[]);
    hub.hang_up();
    hub.next_record(|line| line.contains("nothing to reload"));
}
