//! Help, errors, and what the command line prints about itself.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use rustix::process::Signal;

use crate::cli::{fails, run};
use crate::process::{Process, Server, carafe};

fn text(arguments: &[&str]) -> String {
    let output = run(arguments, "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// With an environment variable.
fn with(variable: &str, value: &str, arguments: &[&str]) -> Output {
    carafe().args(arguments).env(variable, value).output().unwrap()
}

#[track_caller]
fn fails_with(variable: &str, value: &str, arguments: &[&str], sentence: &str) {
    let output = with(variable, value, arguments);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.lines().count() == 1 && stderr.contains(sentence), "{stderr}");
}

#[test]
fn a_misspelt_command_option_or_value_is_answered_with_the_right_one() {
    fails(&["publsh"], 2, "unrecognized subcommand 'publsh'; did you mean `publish`?");
    fails(&["serve", "--listn", "x"], 2, "did you mean `--listen`?");
    fails(&["dev", "--log-format", "texd"], 2, "did you mean `text`?");
    fails(&["token", "--nope"], 2, "; see carafe token --help");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("carafe.toml");
    fs::write(&file, "heartbaet = \"1s\"").unwrap();
    fails(&["dev", "--config", file.to_str().unwrap()], 2, "did you mean `heartbeat`?");
}

#[test]
fn a_bad_value_is_reported_with_the_variable_or_the_file_that_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("carafe.toml");
    let file = path.to_str().unwrap();
    fs::write(&path, "heartbeat = \"always\"").unwrap();
    let place = format!("'always' for `heartbeat` in {file}: expected a duration");
    fails(&["dev", "--config", file], 2, &place);
    let dev = ["dev", "--config", file];
    fails_with("CARAFE_HEARTBEAT", "often", &dev, "'often' in the variable CARAFE_HEARTBEAT: ");
    let flag = ["dev", "--config", file, "--heartbeat=never"];
    fails_with("CARAFE_HEARTBEAT", "often", &flag, "'never' for '--heartbeat <DURATION>': ");
    let subscribe = ["subscribe", "a"];
    fails_with("CARAFE_URL", "hub", &subscribe, "'hub' in the variable CARAFE_URL: relative URL");
    fs::write(&path, "retry = \"1s\"\n\nheartbeat =\n").unwrap();
    fails(&["dev", "--config", file], 2, "carafe.toml, line 3: ");
}

#[test]
fn an_empty_variable_counts_as_unset_except_for_secrets() {
    let check = ["serve", "--anonymous", "subscribe", "--log", "memory:", "--check"];
    for variable in ["CARAFE_HEARTBEAT", "CARAFE_CONFIG", "CARAFE_TLS_CERT", "CARAFE_RETAIN"] {
        let output = with(variable, "", &check);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{variable}: {stderr}");
    }
    for variable in ["CARAFE_SECRET_FILE", "CARAFE_KEYS"] {
        fails_with(variable, "", &check, &format!("the variable {variable} is empty"));
    }
    fails_with("CARAFE_SECRET", "", &check, "CARAFE_SECRET: ");
    let publish = ["publish", "a", "x", "--url", "http://127.0.0.1:1"];
    for variable in ["CARAFE_TOKEN", "CARAFE_TOKEN_FILE"] {
        fails_with(variable, "", &publish, &format!("the variable {variable} is empty"));
    }
}

#[test]
fn the_short_help_of_a_hub_fits_one_screen_and_the_long_one_is_in_groups() {
    for command in ["dev", "serve"] {
        let mut short = carafe();
        let short = short.args([command, "-h"]).env("COLUMNS", "80").output().unwrap();
        let short = String::from_utf8(short.stdout).unwrap();
        assert!(short.lines().count() <= 24, "{short}");
        assert!(short.lines().all(|line| line.chars().count() <= 80), "{short}");
        assert!(short.contains("--history-bytes") && short.contains("--help for all"), "{short}");
    }
    let long = text(&["serve", "--help"]);
    let headings = [
        "Listening:",
        "Log and history:",
        "Cluster:",
        "Access:",
        "Limits:",
        "Proxies and origins:",
        "Mercure:",
        "Performance:",
        "Logging:",
        "Examples:",
    ];
    let places: Vec<_> =
        headings.iter().map(|heading| long.find(&format!("\n{heading}"))).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}\n{long}");
    assert!(!long.contains('\u{1b}'), "no colors without a terminal");
}

#[test]
fn completions_and_manual_pages_name_commands_and_options() {
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&["completions", shell]);
        assert!(script.contains("subscribe") && script.contains("history-bytes"), "{script}");
    }
    let page = text(&["man"]);
    let names = ["carafe\\-dev(1)", "carafe\\-serve(1)", "carafe\\-publish(1)", "carafe\\-man(1)"];
    let places: Vec<_> = names.iter().map(|name| page.find(name)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{page}");
    let page = text(&["man", "serve"]);
    assert!(
        page.contains(".TH carafe-serve 1") && page.contains("\\-\\-history\\-bytes"),
        "{page}"
    );
    assert!(text(&["man", "log", "verify"]).contains("carafe\\-log\\-verify"));
    fails(&["man", "coffee"], 2, "there is no command coffee");
    let folder = tempfile::tempdir().unwrap();
    text(&["man", "--folder", folder.path().to_str().unwrap()]);
    for page in ["carafe.1", "carafe-serve.1", "carafe-log-verify.1"] {
        assert!(folder.path().join(page).exists(), "{page}");
    }
}

/// Settings by key, with those that are comments if `all`.
fn settings(file: &str, all: bool) -> BTreeMap<String, String> {
    let lines = file.lines().filter_map(|line| match line.strip_prefix('#') {
        Some(comment) => comment.strip_prefix(' ').filter(|_| all),
        None => Some(line),
    });
    let pairs = lines.filter_map(|line| line.split_once(" = "));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[test]
fn the_printed_configuration_is_loaded_again_as_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("carafe.toml");
    let changed = [
        "config",
        "--listen",
        "127.0.0.1:0",
        "--retain",
        "a/*=1h,b/*=2d",
        "--history-events",
        "7",
        "--mercure",
        "--anonymous",
        "subscribe",
        "--issuer",
        "a \"quoted\"\tname\\",
        "--heartbeat",
        "20s",
    ];
    let printed = text(&changed);
    let set = settings(&printed, false);
    assert_eq!(set["retain"], r#"["a/*=1h", "b/*=2d"]"#);
    assert_eq!(set["history-events"], "7");
    assert_eq!(set["mercure"], "true");
    assert_eq!(set["issuer"], r#""a \"quoted\"\tname\\""#);
    assert_eq!(set.len(), 7, "{set:?}");
    fs::write(&path, &printed).unwrap();
    assert_eq!(text(&["config", "--config", path.to_str().unwrap()]), printed);
}

#[test]
fn the_defaults_in_the_printed_configuration_are_valid() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("carafe.toml");
    let file = path.to_str().unwrap();
    let defaults = text(&["config"]);
    assert!(settings(&defaults, false).is_empty(), "{defaults}");
    let mut all = settings(&defaults, true);
    all.retain(|_, value| !value.starts_with('<'));
    all.insert("anonymous".into(), "[\"subscribe\"]".into());
    all.insert("log".into(), "\"memory:\"".into());
    let lines: String = all.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    fs::write(&path, lines).unwrap();
    text(&["serve", "--config", file, "--check"]);
    let printed = text(&["config", "--config", file]);
    let set = settings(&printed, false);
    assert_eq!(set.keys().collect::<Vec<_>>(), ["anonymous", "log"], "{set:?}");
}

fn check(arguments: &[&str]) -> Vec<String> {
    let lines = text(&[&["serve", "--check"], arguments].concat());
    lines.lines().map(Into::into).collect()
}

fn log_option(folder: &Path) -> String {
    format!("disk:{}", folder.display())
}

#[test]
fn a_check_reports_what_a_start_would_find_and_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let log = log_option(&data);
    let open = ["--anonymous", "subscribe", "--log", &log];
    assert!(check(&open)[1].ends_with("does not exist, and is created at the start"));
    assert!(!data.exists());

    let hub = Server::on_disk(&data, &[]);
    crate::http::publish(hub.address, "/events/a", "x");
    assert!(check(&open)[1].ends_with("is in use by a hub, and was not read"));
    hub.terminate();
    assert!(hub.wait().success());
    assert!(check(&open)[1].contains("data is valid: 1 events, "), "{:?}", check(&open));

    let secret = folder.path().join("secret");
    let file = secret.to_str().unwrap();
    fs::write(&secret, "0123456789abcdef0123456789abcdef").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    let lines = check(&["--log", "memory:", "--secret-file", file]);
    assert!(lines[1].starts_with("keys ") && lines[1].ends_with("secret is valid"), "{lines:?}");
}

#[test]
fn a_check_fails_for_each_part_that_a_start_would_refuse() {
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("bad");
    let file = bad.to_str().unwrap();
    fs::write(&bad, "short").unwrap();
    fs::set_permissions(&bad, Permissions::from_mode(0o600)).unwrap();
    let fails_check = |arguments: &[&str], code, sentence| {
        let check = ["serve", "--check", "--anonymous", "subscribe"];
        fails(&[&check, arguments].concat(), code, sentence);
    };
    fails_check(&["--heartbeat", "often"], 2, "expected a duration");
    fails_check(&["--secret-file", file, "--log", "memory:"], 2, "bad: ");
    fails_check(&["--tls-cert", file, "--tls-key", file, "--log", "memory:"], 2, "bad");
    fails_check(&["--config", file], 2, "bad, line 1: ");

    let data = folder.path().join("data");
    let hub = Server::on_disk(&data, &[]);
    crate::http::publish(hub.address, "/events/a", "some data");
    hub.terminate();
    assert!(hub.wait().success());
    let mut names = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path());
    let segment = names.find(|path| path.extension().is_some_and(|ext| ext == "segment")).unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(9).position(|window| window == b"some data").unwrap();
    bytes[at] ^= 1;
    fs::write(&segment, bytes).unwrap();
    fails_check(&["--log", &log_option(&data)], 1, "carafe log verify");
}

/// What a hub prints up to its address.
fn start_lines(arguments: &[&str]) -> (Process, Vec<String>) {
    let process = Process::start(carafe().args(arguments));
    let mut lines = Vec::new();
    process.next_record(|line| {
        lines.push(line.to_owned());
        line.contains("listening on ")
    });
    (process, lines)
}

#[test]
fn a_start_prints_version_data_access_a_command_and_the_address_once() {
    let folder = tempfile::tempdir().unwrap();
    let log = log_option(&folder.path().join("data"));
    let serve = ["serve", "--anonymous", "subscribe", "--log", &log, "--listen", "127.0.0.1:0"];
    let (hub, lines) = start_lines(&serve);
    let address = lines.last().unwrap().strip_prefix("listening on http://").unwrap();
    let version = format!("carafe {}", env!("CARGO_PKG_VERSION"));
    assert_eq!((lines.len(), &lines[0]), (5, &version), "{lines:?}");
    assert!(lines[1].starts_with("  data    ") && lines[1].contains("data, "), "{lines:?}");
    assert_eq!(lines[2], "  access  everyone may subscribe; nobody may publish without keys");
    assert_eq!(lines[3], format!("  try     curl -N http://{address}/events"));
    hub.signal(Signal::TERM);
    let rest: Vec<_> = hub.stderr.iter().collect();
    assert!(rest.len() == 1 && rest[0].contains("draining"), "{rest:?}");
}

#[test]
fn a_start_in_json_is_logged_in_records() {
    let serve = ["serve", "--anonymous", "publish", "--log", "memory:", "--log-format", "json"];
    let (_hub, lines) = start_lines(&[&serve[..], &["--listen", "127.0.0.1:0"]].concat());
    let records: Vec<serde_json::Value> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records[0]["fields"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(records[0]["fields"]["data"], "in memory: a restart forgets it");
}

#[test]
fn dev_warns_if_other_machines_can_reach_it() {
    let dev = |listen| start_lines(&["dev", "--log", "memory:", "--listen", listen]).0;
    let warning = dev("0.0.0.0:0").next_record(|line| line.contains("other machines can reach"));
    assert!(warning.contains("WARN") && warning.contains("run carafe serve"), "{warning}");
    let quiet = dev("127.0.0.1:0");
    quiet.signal(Signal::TERM);
    assert!(quiet.stderr.iter().all(|line| !line.contains("WARN")));
}

#[test]
fn a_level_that_cannot_be_read_is_warned_of_and_an_empty_one_counts_as_unset() {
    let first = |level: &str| {
        let mut command = carafe();
        command.args(["dev", "--log", "memory:", "--listen", "127.0.0.1:0"]);
        let hub = Process::start(command.env("RUST_LOG", level));
        hub.next_record(|line| line.contains("listening on"));
        hub.signal(Signal::TERM);
        hub.stderr.iter().collect::<Vec<_>>()
    };
    assert!(first("").iter().any(|line| line.contains("draining")));
    let mut command = carafe();
    command.args(["dev", "--log", "memory:", "--listen", "127.0.0.1:0"]);
    let hub = Process::start(command.env("RUST_LOG", "carafe=loud"));
    hub.next_record(|line| line.contains("WARN") && line.contains("RUST_LOG"));
    hub.next_record(|line| line.contains("listening on"));
}
