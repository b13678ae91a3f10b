//! `carafe subscribe`: what it asks for, how it prints, and where it continues.

use std::fs;
use std::path::Path;

use carafe_testing::process::Process;
use rustix::process::Signal;

use crate::cli::{fails, run};
use crate::http::publish;
use crate::process::{PATIENCE, Server, carafe, eventually};

/// The lines that `carafe subscribe` prints.
#[track_caller]
fn printed(hub: &Server, arguments: &[&str]) -> Vec<String> {
    let output = run(&[&["subscribe", "--url", &hub.url("")], arguments].concat(), "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(Into::into).collect()
}

#[test]
fn a_topic_with_operators_is_a_pattern_and_an_option_makes_it_exact() {
    let hub = Server::start(&[]);
    for (topic, data) in [("orders/1", "1"), ("orders/2", "2"), ("orders%2F*", "3"), ("b", "4")] {
        publish(hub.address, &format!("/events/{topic}"), data);
    }
    let all = |count: &str, arguments: &[&str]| {
        printed(&hub, &[&["--earliest", "-n", count], arguments].concat())
    };
    assert_eq!(all("3", &["orders/*"]), ["1", "2", "3"]);
    assert_eq!(all("3", &["orders/:id"]), ["1", "2", "3"]);
    assert_eq!(all("2", &["orders/1", "b"]), ["1", "4"]);
    assert_eq!(all("1", &["-t", "orders/*"]), ["3"]);
    assert_eq!(all("1", &["orders/\\*"]), ["3"]);
    assert_eq!(all("4", &[]), ["1", "2", "3", "4"]);
    fails(&["subscribe", "orders/("], 2, "orders/(");
}

#[test]
fn the_form_names_the_fields_of_an_event() {
    let hub = Server::start(&[]);
    let id = publish(hub.address, "/events/a?event=t", "x");
    publish(hub.address, "/events/b", "{topic}");
    let form = ["--earliest", "-n", "2", "--format", "{{{topic}}} {type} {data}"];
    assert_eq!(printed(&hub, &form), ["{a} t x", "{b} message {topic}"]);
    let form = ["--earliest", "-n", "1", "--format", "{id}\\t{time}"];
    let line = printed(&hub, &form).remove(0);
    let (printed_id, time) = line.split_once('\t').unwrap();
    assert_eq!(printed_id, id);
    assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    fails(&["subscribe", "--format", "{colour}"], 2, "expected text with {topic}");
    fails(&["subscribe", "--format", "{id}", "--json"], 2, "cannot be used with");
}

#[test]
fn since_starts_with_the_events_of_this_time() {
    let hub = Server::start(&[]);
    for data in ["1", "2"] {
        publish(hub.address, "/events/a", data);
    }
    assert_eq!(printed(&hub, &["--since", "1d", "-n", "2"]), ["1", "2"]);
    // More than are asked for at first.
    for data in 3..=250 {
        publish(hub.address, "/events/a", &data.to_string());
    }
    let all: Vec<_> = (1..=250).map(|data| data.to_string()).collect();
    assert_eq!(printed(&hub, &["a", "--since", "1d", "-n", "250"]), all);
    // From now on: none of the events before.
    let mut command = carafe();
    command.args(["subscribe", "--since", "0s", "--url", &hub.url("")]);
    let subscriber = Process::start(&mut command);
    let first = (0..).find_map(|number| {
        publish(hub.address, "/events/a", &format!("new {number}"));
        subscriber.stdout.recv_timeout(PATIENCE / 1000).ok()
    });
    assert!(first.unwrap().starts_with("new "));
}

fn state_arguments(state: &Path, count: &'static str) -> Vec<String> {
    let state = state.to_str().unwrap();
    ["--state", state, "-n", count, "--earliest"].map(Into::into).to_vec()
}

#[test]
fn the_next_run_with_the_same_state_resumes_after_the_last_printed_event() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let hub = Server::start(&[]);
    let ids: Vec<_> =
        (1..=5).map(|number| publish(hub.address, "/events/a", &number.to_string())).collect();
    let next = |count| {
        let arguments = state_arguments(&state, count);
        printed(&hub, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert_eq!(next("2"), ["1", "2"]);
    assert_eq!(fs::read_to_string(&state).unwrap(), format!("{}\n", ids[1]));
    assert_eq!(next("1"), ["3"]);
    assert_eq!(next("2"), ["4", "5"]);
    let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["state"], "no temporary file is left");
    fs::write(&state, "something else entirely\n").unwrap();
    fails(&["subscribe", "--state", state.to_str().unwrap()], 2, "is not a state file");
}

#[test]
fn a_signal_ends_a_run_with_its_state_saved() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let hub = Server::start(&[]);
    for signal in [Signal::TERM, Signal::INT] {
        let id = publish(hub.address, "/events/a", "x");
        let mut command = carafe();
        command.args(["subscribe", "a", "--earliest", "--url", &hub.url("")]);
        let subscriber = Process::start(command.arg("--state").arg(&state));
        assert_eq!(subscriber.stdout.recv_timeout(PATIENCE).as_deref(), Ok("x"));
        subscriber.signal(signal);
        assert!(subscriber.wait().success());
        assert_eq!(fs::read_to_string(&state).unwrap(), format!("{id}\n"));
    }
}

#[test]
fn a_run_without_events_keeps_its_position() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let hub = Server::start(&[]);
    publish(hub.address, "/events/a", "before");
    let mut command = carafe();
    command.args(["subscribe", "a", "--url", &hub.url(""), "--state"]);
    let subscriber = Process::start(command.arg(&state));
    eventually("the position is saved", || state.exists());
    subscriber.signal(Signal::TERM);
    assert!(subscriber.wait().success());
    publish(hub.address, "/events/a", "meanwhile");
    let next = ["a", "-n", "1", "--state", state.to_str().unwrap()];
    assert_eq!(printed(&hub, &next), ["meanwhile"]);
}

#[test]
fn an_event_over_the_limit_is_reported_with_the_option_that_raises_it() {
    let hub = Server::start(&[]);
    publish(hub.address, "/events/a", &"x".repeat(1000));
    let url = hub.url("");
    let small = ["subscribe", "a", "--earliest", "--event-bytes", "500", "--url", &url];
    fails(&small, 1, "more than 500 bytes: raise --event-bytes");
    assert_eq!(printed(&hub, &["--earliest", "--event-bytes", "2kB", "-n", "1"])[0].len(), 1000);
}
