//! `carafe cluster`, and the options of a node.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use carafe_testing::nats::{NatsServers, is_here};

use crate::cli::{fails, run};
use crate::process::{Process, carafe, repository};

use super::nodes::{Copy, Nodes};

const SECRET: &str = "s3cret-of-the-engine";

#[test]
fn a_stream_is_created_once_and_checked() {
    if !is_here("a_stream_is_created_once_and_checked") {
        return;
    }
    let nats = NatsServers::start(1);
    let url = format!("{}/orders?replicas=1", nats.url());
    fails_with_output(&["cluster", "check", &url], "carafe cluster create");
    let create = |expected: &str| {
        let output = run(&["cluster", "create", &url], "");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{expected}\n"));
    };
    create("created the stream");
    create("the stream exists, and was not changed");
    let output = run(&["cluster", "check", &url], "");
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout}");
    assert!(stdout.contains("replicas") && stdout.lines().count() > 4, "{stdout}");
    fails_with_output(&["cluster", "check", &url, "--event-bytes", "8MiB"], "max_payload");
}

/// Fails with code 1: what is wrong is on standard output, and a sentence on standard error.
#[track_caller]
fn fails_with_output(arguments: &[&str], wanted: &str) {
    let output = run(arguments, "");
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{stdout}{stderr}");
    assert!(format!("{stdout}{stderr}").contains(wanted), "{stdout}{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn an_engine_that_cannot_be_is_refused_without_its_password() {
    for url in [
        format!("nats://ann:{SECRET}@127.0.0.1:nowhere/carafe"),
        format!("redis://ann:{SECRET}@127.0.0.1/carafe"),
        format!("nats://ann:{SECRET}@127.0.0.1"),
        format!("nats://ann:{SECRET}@127.0.0.1/carafe?replicas=many"),
    ] {
        for arguments in [
            &["cluster", "check", &url][..],
            &["serve", "--anonymous", "subscribe", "--listen", "127.0.0.1:0", "--cluster", &url],
        ] {
            let output = run(arguments, "");
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{stderr}");
            assert!(!stderr.contains(SECRET), "{stderr}");
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
        }
    }
    fails(&["cluster", "check", "nats://127.0.0.1:1/carafe"], 1, "nats://127.0.0.1:1/carafe: ");
    fails(&["dev", "--cluster", "nats://127.0.0.1:1/carafe"], 2, "unexpected argument");
}

#[test]
fn the_configuration_does_not_show_the_credentials_of_the_engine() {
    let url = format!("nats://ann:{SECRET}@nats:4222/carafe?replicas=3");
    let output = carafe().arg("config").env("CARAFE_CLUSTER", &url).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(!stdout.contains(SECRET), "{stdout}");
    assert!(stdout.contains("cluster = \"nats://nats:4222/carafe?replicas=3\""), "{stdout}");
}

/// Starts a node with credentials of a file and of a variable, on a server that requires them.
#[test]
fn credentials_come_from_a_file_or_a_variable_and_are_not_logged() {
    if !is_here("credentials_come_from_a_file_or_a_variable_and_are_not_logged") {
        return;
    }
    let nats =
        NatsServers::configured(1, &format!("authorization {{ user: ann, password: {SECRET} }}"));
    let url = format!("{}/carafe?replicas=1", nats.url());
    fails(&["cluster", "create", &url], 1, "");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credentials");
    fs::write(&file, format!("ann:{SECRET}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let file = file.to_str().unwrap();
    let created = run(&["cluster", "create", &url, "--cluster-credentials-file", file], "");
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    let mut command = carafe();
    command.args(["serve", "--anonymous", "subscribe", "--log", "memory:", "--cluster", &url]);
    command.args(["--listen", "127.0.0.1:0"]).env("RUST_LOG", "trace");
    command.env("CARAFE_CLUSTER_CREDENTIALS", format!("ann:{SECRET}"));
    let node = Process::start(&mut command);
    let mut said = Vec::new();
    node.next_record(|line| {
        said.push(line.to_owned());
        line.starts_with("listening on http")
    });
    let said = said.join("\n");
    assert!(!said.contains(SECRET), "{said}");
    let empty = carafe()
        .args(["cluster", "check", &url])
        .env("CARAFE_CLUSTER_CREDENTIALS", "")
        .output()
        .unwrap();
    assert_eq!(empty.status.code(), Some(2), "{}", String::from_utf8_lossy(&empty.stderr));
}

#[test]
fn a_node_whose_user_may_not_publish_does_not_start_and_names_the_permission() {
    if !is_here("a_node_whose_user_may_not_publish_does_not_start_and_names_the_permission") {
        return;
    }
    let nats = NatsServers::configured(
        1,
        "no_auth_user: all\nauthorization { users: [ { user: all, password: all }, \
         { user: node, password: node, permissions: { publish: { deny: \"carafe.*\" } } } ] }",
    );
    let url = format!("{}/orders?replicas=1", nats.url());
    assert!(run(&["cluster", "create", &url], "").status.success());
    let url = url.replace("nats://", "nats://node:node@");
    let missing = "lacks the permission to publish to carafe.orders: grant it in NATS";
    fails_with_output(&["cluster", "check", &url], missing);
    let memory = ["--log", "memory:", "--listen", "127.0.0.1:0"];
    let serve = ["serve", "--anonymous", "publish", "--cluster", &url];
    let output = run(&[&serve[..], &memory].concat(), "");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.lines().last().unwrap().contains(missing), "{stderr}");
}

#[test]
fn a_check_of_the_settings_checks_the_engine() {
    if !is_here("a_check_of_the_settings_checks_the_engine") {
        return;
    }
    let nats = NatsServers::start(1);
    let url = format!("{}/carafe?replicas=1", nats.url());
    assert!(run(&["cluster", "create", &url], "").status.success());
    let serve = ["serve", "--anonymous", "subscribe", "--log", "memory:", "--check", "--cluster"];
    let output = run(&[&serve[..], &[&url]].concat(), "");
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(stdout.contains("settings     valid") && stdout.contains("replicas"), "{stdout}");
}

#[test]
fn the_documentation_and_the_dashboard_name_every_metric_of_a_node() {
    if !is_here("the_documentation_and_the_dashboard_name_every_metric_of_a_node") {
        return;
    }
    let nodes = Nodes::start(1, &[Copy::Memory], &["--metrics-listen", "127.0.0.1:0"]);
    let exported = crate::http::get(nodes.metrics(0).address, "/metrics").body;
    let page = fs::read_to_string(repository("docs/OPERATIONS.md")).unwrap();
    let dashboard = fs::read_to_string(repository("deploy/grafana/carafe.json")).unwrap();
    let names = exported.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let names: Vec<_> = names.filter(|name| name.starts_with("carafe_cluster_")).collect();
    assert!(names.len() > 15, "{exported}");
    let asked = dashboard.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    for name in asked.filter(|word| word.starts_with("carafe_cluster_")) {
        assert!(exported.contains(&format!("\n{name} ")), "the dashboard asks for {name}");
    }
    for name in names {
        assert!(page.contains(&format!("`{name}")), "{name} is not in docs/OPERATIONS.md");
        assert!(dashboard.contains(name), "{name} is in no panel of the dashboard");
    }
}
