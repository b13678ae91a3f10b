//! The units in `deploy/systemd`.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use crate::clients::skip;
use crate::http::{get, post, request};
use crate::process::{PATIENCE, Process, Server, carafe, repository};

const SERVICE: &str = "deploy/systemd/carafe.service";

/// The value of a setting of the unit.
fn setting(name: &str) -> String {
    let unit = fs::read_to_string(repository(SERVICE)).unwrap();
    let mut values = unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    values.next().unwrap_or_else(|| panic!("no {name}")).to_owned()
}

#[test]
fn systemd_finds_the_unit_hardened_and_correct() {
    let test = "systemd_finds_the_unit_hardened_and_correct";
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return skip(test, "systemd-analyze is not installed");
    }
    // Tenths: an exposure of at most 2.0.
    let security = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=20", "--no-pager"])
        .arg(repository(SERVICE))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&security.stdout);
    assert!(security.status.success() && said.contains("Overall exposure level"), "{said}");
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args([SERVICE, "deploy/systemd/carafe.socket"].map(repository))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    // The program is not installed here.
    let faults: Vec<_> = said.lines().filter(|line| line.contains("deploy/systemd")).collect();
    assert!(faults.is_empty(), "{said}");
}

/// Starts what the unit starts, with folders of the test for those of systemd.
#[test]
fn the_command_of_the_unit_serves_and_tells_the_service_manager() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("secret"), "0123456789abcdef0123456789abcdef").unwrap();
    let config = fs::read_to_string(repository("deploy/carafe.toml")).unwrap();
    let config = config.replace("/var/lib/carafe", &path("state")).replace(":3000", ":0");
    fs::write(path("carafe.toml"), config).unwrap();
    let manager = UnixDatagram::bind(path("notify")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();

    let start = setting("ExecStart").replace("%d/", &path("")).replace("/etc/carafe/", &path(""));
    let arguments = start.strip_prefix("/usr/bin/carafe ").unwrap().split(' ');
    let mut command = carafe();
    command.args(arguments).env("NOTIFY_SOCKET", path("notify"));
    let hub = Server::of(Process::start(&mut command));
    let mut message = [0; 4096];
    let length = manager.recv(&mut message).unwrap();
    assert!(String::from_utf8_lossy(&message[..length]).starts_with("READY=1\n"));

    assert_eq!(get(hub.address, "/readyz").status, 200);
    assert_eq!(post(hub.address, "/events/a", "x").status, 401, "only holders of a token publish");
    let token = Command::new(carafe().get_program())
        .args(["token", "--publish", "a", "--secret-file", &path("secret")])
        .output()
        .unwrap();
    let token =
        format!("Authorization: Bearer {}", String::from_utf8(token.stdout).unwrap().trim());
    assert_eq!(request(hub.address, "POST", "/events/a", &[&token], b"x").status, 201);
    hub.terminate();
    assert!(hub.wait().success());
    assert!(fs::read_dir(path("state/log")).unwrap().count() > 0);
}
