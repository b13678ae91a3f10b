//! Servers written in Go, which `bench/peers/NAME/install.sh` builds. They run on one thread.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::outcome::Outcome;
use crate::server::{Server, Setup, free_port};

const PROGRAMS: &str = "target/peers/bin";

/// Centrifugo with its unidirectional event streams, and the API over HTTP for publishing.
pub(crate) fn centrifugo(setup: &Setup<'_>) -> Outcome<Server> {
    let port = free_port()?;
    let mut command = program("centrifugo")?;
    command.args(["-c", "bench/peers/centrifugo/config.json"]);
    command.env("CENTRIFUGO_HTTP_SERVER_PORT", port.to_string());
    if let Some(tls) = setup.tls {
        command.env("CENTRIFUGO_HTTP_SERVER_TLS_ENABLED", "true");
        command.env("CENTRIFUGO_HTTP_SERVER_TLS_CERT_PEM", tls.chain());
        command.env("CENTRIFUGO_HTTP_SERVER_TLS_KEY_PEM", tls.key());
    }
    Server::start_at(&command, setup.core, port, setup.scheme())
}

/// The Mercure hub, a module of Caddy. Its events are in memory, or in a Bolt database.
pub(crate) fn mercure(setup: &Setup<'_>) -> Outcome<Server> {
    let port = free_port()?;
    let mut command = program("mercure")?;
    command.args(["run", "--adapter", "caddyfile", "--config", "bench/peers/mercure/Caddyfile"]);
    command.env("BENCH_SITE", format!("{}://127.0.0.1:{port}", setup.scheme()));
    let tls = |[chain, key]: [String; 2]| format!("tls {chain} {key}");
    command.env("BENCH_TLS", setup.tls.map_or(String::new(), |it| tls(it.files())));
    command.env("BENCH_TRANSPORT", setup.log.map_or("local".into(), bolt));
    Server::start_at(&command, setup.core, port, setup.scheme())
}

/// The value of the header that lets the load publish to the Mercure hub.
pub(crate) fn mercure_authorization() -> Outcome<String> {
    let token = fs::read_to_string("bench/peers/mercure/token")?;
    Ok(format!("Authorization: Bearer {}", token.trim()))
}

fn bolt(folder: &Path) -> String {
    format!("bolt {{\npath {}/mercure.db\n}}", folder.display())
}

fn program(name: &str) -> Outcome<Command> {
    let program = Path::new(PROGRAMS).join(name);
    if !program.exists() {
        return Err(format!("not installed, see bench/peers/{name}/install.sh").into());
    }
    let mut command = Command::new(program);
    command.env("GOMAXPROCS", "1");
    Ok(command)
}
