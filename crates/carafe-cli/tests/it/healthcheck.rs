//! `carafe healthcheck`.

use crate::http::get;
use crate::process::{Process, Server, carafe, eventually};

/// The exit code, and what the command says.
fn check(arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = carafe();
    command.arg("healthcheck").args(arguments).envs(variables.iter().copied());
    let process = Process::start(&mut command);
    let said: Vec<_> = process.stderr.iter().collect();
    (process.wait().code(), said.join("\n"))
}

#[test]
fn a_hub_is_alive_and_ready_until_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let file = format!("unix:{}", folder.path().join("hub.sock").display());
    let listen = ["--listen", "127.0.0.1:0", "--listen", &file, "--shutdown-delay", "1h"];
    let hub = Server::start(&listen);
    let address = hub.address.to_string();
    let everywhere = format!(":{}", hub.address.port());
    for arguments in
        [&[&*address][..], &[&file], &["--listen", &everywhere], &[&*address, "--ready"]]
    {
        assert_eq!(check(arguments, &[]), (Some(0), String::new()), "{arguments:?}");
    }
    // In a container, the variables of the hub are those of the check.
    assert_eq!(check(&[], &[("CARAFE_LISTEN", &address)]), (Some(0), String::new()));
    let both = [("CARAFE_LISTEN", "127.0.0.1:1"), ("CARAFE_METRICS_LISTEN", &*address)];
    assert_eq!(check(&[], &both), (Some(0), String::new()));
    hub.terminate();
    eventually("/readyz is 503", || get(hub.address, "/readyz").status == 503);
    let (code, said) = check(&[&address, "--ready"], &[]);
    assert_eq!((code, said.contains("responds to /readyz with 503")), (Some(1), true), "{said}");
    assert_eq!(check(&[&address], &[]).0, Some(0));
    hub.kill();
    let (code, said) = check(&[&address], &[]);
    assert_eq!((code, said.contains("cannot check the hub at")), (Some(1), true), "{said}");
}
