//! The command line.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::process::{Output, Stdio};

use crate::http::{Stream, get, post, publish};
use crate::process::{Process, Server, carafe};

pub(crate) fn run(arguments: &[&str], input: &str) -> Output {
    let command = &mut carafe();
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A program that refuses its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[track_caller]
pub(crate) fn fails(arguments: &[&str], code: i32, sentence: &str) {
    let output = run(arguments, "");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(output.stdout, b"", "standard output is for data");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.starts_with("carafe: ") && stderr.contains(sentence), "{stderr}");
}

#[test]
fn a_command_line_that_cannot_be_is_refused_in_one_sentence_with_exit_2() {
    fails(&["--nope"], 2, "unexpected argument '--nope'");
    fails(&["brew"], 2, "unrecognized subcommand 'brew'");
    fails(&["dev", "--listen", "nowhere"], 2, "--listen");
    fails(&["dev", "--heartbeat", "often"], 2, "expected a duration such as 500ms");
    fails(&["dev", "--heartbeat", "0s"], 2, "--heartbeat");
    fails(&["dev", "--ring-bytes", "much"], 2, "--ring-bytes");
    fails(&["dev", "--log", "tape:"], 2, "memory:");
    for (option, value, sentence) in [
        ("--subscribers", "many", "expected a whole number, or unlimited"),
        ("--publish-rate", "fast", "write events and a time"),
        ("--allow-origin", "app.example", "write an origin as browsers send it"),
        ("--allow-origin", "null", "write an origin as browsers send it"),
        ("--trusted-proxies", "proxy", "write an address or a network"),
        ("--metrics-listen", "nowhere", "--metrics-listen"),
        ("--log-format", "xml", "text, json"),
    ] {
        fails(&["serve", "--anonymous", "subscribe", option, value], 2, sentence);
    }
    fails(&["serve"], 2, "--anonymous subscribe,publish");
    fails(&["serve", "--anonymous", "everything"], 2, "everything");
    fails(&["subscribe", "a", "--earliest", "--last", "3"], 2, "cannot be used with");
    fails(&["publish"], 2, "<TOPIC>");
    fails(&["publish", "a", "--id", "k"], 2, "--whole");
}

#[test]
fn a_port_in_use_is_reported_with_exit_2() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    fails(
        &["dev", "--listen", &address],
        2,
        &format!("{address} is in use: stop the program that listens there"),
    );
}

#[test]
fn an_unreachable_hub_is_reported_with_exit_1() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}");
    fails(&["publish", "a", "x", "--no-retry", "--url", &url], 1, "start one with `carafe dev`");
    fails(&["subscribe", "a", "--url", &url], 1, "cannot connect");
    fails(&["subscribe", "a", "--url", "hub"], 2, "expected one such as http://");
    fails(&["publish", "a", "x", "--url", "ftp://hub.example"], 2, "scheme ftp is not supported");
}

#[test]
fn a_rejection_is_reported_with_the_detail_of_the_hub_and_exit_1() {
    let hub = Server::start(&[]);
    fails(&["publish", "a/../b", "x", "--url", &hub.url("")], 1, "leave such segments out");
    fails(&["subscribe", "-t", "a/../b", "--url", &hub.url("")], 1, "leave such segments out");
    fails(&["subscribe", "a/../b", "--url", &hub.url("")], 2, "leave such segments out");
}

#[test]
fn each_line_of_standard_input_is_an_event_and_each_event_a_line_of_standard_output() {
    let hub = Server::start(&[]);
    let url = hub.url("");
    let lines: Vec<_> = (0..2500).map(|number| format!("line {number} \u{2615}")).collect();
    let published = run(&["publish", "orders", "--url", &url], &lines.join("\n"));
    assert!(
        published.status.success() && published.stdout.is_empty() && published.stderr.is_empty()
    );
    let read = run(&["subscribe", "orders", "--earliest", "-n", "2500", "--url", &url], "");
    assert!(read.status.success());
    let read = String::from_utf8(read.stdout).unwrap();
    assert!(read.lines().eq(&lines), "{read}");
}

#[test]
fn data_is_the_argument_a_line_or_all_of_standard_input() {
    let hub = Server::start(&[]);
    let url = hub.url("");
    let publish = |arguments: &[&str], input: &str| {
        let output = run(&[&["publish", "a", "--url", &url][..], arguments].concat(), input);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    publish(&["an argument"], "not read");
    publish(&["-"], "first\r\n\nthird");
    publish(&["--whole"], "all\nof it\n");
    publish(&["-", "--whole", "--id", "k"], "once");
    publish(&["-", "--whole", "--id", "k"], "twice");
    publish(&["last"], "");
    let data = Stream::open(hub.address, "/events/a?earliest", &[]).data(7);
    assert_eq!(data, ["an argument", "first", "", "third", "all\nof it\n", "once", "last"]);
}

#[test]
fn data_may_be_a_file_or_a_negative_number() {
    let hub = Server::start(&[]);
    let url = hub.url("");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data");
    fs::write(&file, "two\nlines\n").unwrap();
    let file = format!("@{}", file.display());
    for data in [&file, "-5", "-2.5", "@@ann", "@-"] {
        let output = run(&["publish", "temp", data, "--url", &url], "input");
        assert!(output.status.success(), "{data}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let data = Stream::open(hub.address, "/events/temp?earliest", &[]).data(5);
    assert_eq!(data, ["two\nlines\n", "-5", "-2.5", "@ann", "input"]);
    fails(&["publish", "a", "@missing", "--url", &url], 2, "cannot read missing: ");
    fails(&["publish", "a", "--private", "--nope"], 2, "--nope");
}

#[test]
fn a_line_is_published_when_it_arrives() {
    let hub = Server::start(&[]);
    let mut stream = Stream::open(hub.address, "/events/a", &[]);
    let mut child = carafe()
        .args(["publish", "a", "--url", &hub.url("")])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    for line in ["one", "two"] {
        writeln!(input, "{line}").unwrap();
        assert_eq!(stream.data(1), [line]);
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_line_that_is_not_utf_8_ends_publishing_after_the_lines_before_it() {
    let hub = Server::start(&[]);
    let url = hub.url("");
    let mut command = carafe();
    command.args(["publish", "a", "--url", &url]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"good\n\xff\nnever\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("line 2 is not UTF-8"));
    publish(hub.address, "/events/a", "end");
    assert_eq!(Stream::open(hub.address, "/events/a?earliest", &[]).data(2), ["good", "end"]);
}

#[test]
fn json_has_the_ids_when_publishing_and_all_fields_when_subscribing() {
    let hub = Server::start(&[]);
    let url = hub.url("");
    let published = run(&["publish", "a", "x\ny", "--event", "t", "--json", "--url", &url], "");
    let published: serde_json::Value = serde_json::from_slice(&published.stdout).unwrap();
    let read = run(&["subscribe", "a", "--earliest", "-n", "1", "--json", "--url", &url], "");
    let read: serde_json::Value = serde_json::from_slice(&read.stdout).unwrap();
    assert_eq!(read["id"], published["id"]);
    assert_eq!(
        (&read["topic"], &read["type"], &read["data"]),
        (&"a".into(), &"t".into(), &"x\ny".into())
    );
}

#[test]
fn subscribing_begins_where_its_options_say() {
    let hub = Server::start(&[]);
    let url = hub.url("");
    let ids: Vec<_> =
        (1..=4).map(|number| publish(hub.address, "/events/a/1", &number.to_string())).collect();
    let read = |start: &[&str], count: &str| {
        let arguments =
            [&["subscribe", "--pattern", "a/*", "-n", count, "--url", &url][..], start].concat();
        String::from_utf8(run(&arguments, "").stdout).unwrap()
    };
    assert_eq!(read(&["--earliest"], "4"), "1\n2\n3\n4\n");
    assert_eq!(read(&["--last", "2"], "2"), "3\n4\n");
    assert_eq!(read(&["--after", &ids[0]], "2"), "2\n3\n");
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let hub = Server::start(&[]);
    for number in 0..1000 {
        publish(hub.address, "/events/a", &number.to_string());
    }
    let mut command = carafe();
    command.args(["subscribe", "a", "--earliest", "--url", &hub.url("")]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn the_flag_wins_then_the_variable_then_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("carafe.toml");
    fs::write(
        &file,
        "history-events = 2\nretry = \"70ms\"\nanonymous = [\"publish\", \"subscribe\"]\n",
    )
    .unwrap();
    let kept = |flags: &[&str], variable: Option<&str>| {
        let mut command = carafe();
        command.args(["serve", "--listen", "127.0.0.1:0", "--log", "memory:", "--config"]);
        command.arg(&file).args(flags);
        command.envs(variable.map(|events| ("CARAFE_HISTORY_EVENTS", events)));
        let process = Process::start(&mut command);
        let address = process.listening(&process.stderr);
        (0..5).for_each(|_| drop(publish(address, "/events/a", "x")));
        let mut stream = Stream::open(address, "/events/a?earliest", &[]);
        stream.next().unwrap().last_event_id.split('-').nth(1).unwrap().to_owned()
    };
    assert_eq!(kept(&[], None), "3", "the file says 2 of 5");
    assert_eq!(kept(&[], Some("3")), "2");
    assert_eq!(kept(&["--history-events", "4"], Some("3")), "1");
}

#[test]
fn a_bad_file_is_reported_with_its_name_and_exit_2() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("carafe.toml");
    let file = path.to_str().unwrap();
    fails(&["dev", "--config", file], 2, "cannot read");
    for (text, sentence) in [
        ("colour = \"red\"", "unknown option `colour`"),
        ("retry = ", "carafe.toml, line 1: "),
        ("retry = true", "`retry` must be a string"),
        ("config = \"other.toml\"", "unknown option `config`"),
        ("retry = \"soon\"", "expected a duration such as"),
    ] {
        fs::write(&path, text).unwrap();
        fails(&["dev", "--config", file], 2, sentence);
    }
}

#[test]
fn a_budget_for_bodies_that_has_no_room_for_what_may_be_published_is_refused() {
    let sentence = "--body-bytes-in-flight must be at least twice the largest event or batch";
    for options in [
        ["--body-bytes-in-flight", "16MiB"],
        ["--event-bytes", "33MiB"],
        ["--batch-bytes", "33MiB"],
    ] {
        fails(&[&["dev", "--log", "memory:"], &options[..]].concat(), 2, sentence);
    }
}

#[test]
fn help_shows_every_limit_with_its_default() {
    let help = String::from_utf8(run(&["serve", "--help"], "").stdout).unwrap();
    for option in [
        "--listen",
        "--log",
        "--config",
        "--anonymous",
        "--secret-file",
        "--keys",
        "--cookie",
        "--history-events",
        "--history-bytes",
        "--ring-bytes",
        "--event-bytes",
        "--batch-bytes",
        "--body-bytes-in-flight",
        "--key-window",
        "--pattern-tests",
        "--ended-topics",
        "--matchers",
        "--complex-patterns",
        "--complex-patterns-per-client",
        "--heartbeat",
        "--retry",
        "--header-timeout",
        "--header-bytes",
        "--body-timeout",
        "--drain-timeout",
        "--subscribers",
        "--subscribers-per-address",
        "--replays",
        "--replays-per-client",
        "--latest-events",
        "--snapshot-bytes",
        "--publish-rate",
        "--publish-burst",
        "--allow-origin",
        "--trusted-proxies",
        "--proxy-header",
        "--hsts",
        "--metrics-listen",
        "--log-format",
    ] {
        let shown =
            help.split_once(&format!("{option} <")).unwrap_or_else(|| panic!("{option}: {help}")).1;
        assert!(shown.contains("[env: CARAFE_"), "{option}");
    }
    assert!(help.contains("[default: 1MiB]") && help.contains("[default: 15s]"), "{help}");
}

#[test]
fn dev_counts_every_second_beside_the_users_data() {
    let hub = Server::dev();
    let mut count = Stream::open(hub.address, "/demo/events/count?earliest", &[]);
    assert_eq!(count.data(3), ["1", "2", "3"]);
    publish(hub.address, "/events/count", "mine");
    for everything in ["/events?earliest", "/events?pattern=*&earliest", "/events/count?last=2"] {
        assert_eq!(Stream::open(hub.address, everything, &[]).data(1), ["mine"]);
    }
    assert!(get(hub.address, "/").body.contains("<script"), "the console is at /");
    assert_eq!(post(hub.address, "/demo/events/count", "4").status, 403);
}

#[test]
fn the_counter_of_dev_ends_with_the_hub() {
    let hub = Server::dev();
    let mut count = Stream::open(hub.address, "/demo/events/count?earliest", &[]);
    assert_eq!(count.data(1), ["1"]);
    hub.terminate();
    assert!(hub.wait().success());
    // Panics if the stream breaks off.
    assert!(count.all(|event| event.data.parse::<u32>().is_ok()));
}

#[test]
fn a_hub_reports_that_it_drains() {
    let hub = Server::start(&[]);
    hub.terminate();
    let process = hub.process();
    process.next_record(|line| line.contains("draining"));
    assert!(process.wait().success());
}
