//! A load balancer in front of the nodes, with the configuration in `deploy/cluster`.

use std::fs;
use std::net::{SocketAddr, TcpStream};

use tempfile::TempDir;

use crate::process::{Process, eventually, free_address, repository};
use crate::proxies::Kind;

use super::nodes::Nodes;

/// The ports of a node.
pub(crate) const EVENTS: u16 = 3000;
pub(crate) const METRICS: u16 = 9464;

/// A running load balancer, which ends when it is dropped.
pub(crate) struct Balancer {
    address: SocketAddr,
    process: Process,
    _folder: TempDir,
}

impl Balancer {
    /// Only nginx and HAProxy.
    pub(crate) fn start(kind: Kind, nodes: &Nodes) -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        let file = folder.path().join("configuration");
        let mut program = kind.program();
        let (example, changes) = match kind {
            Kind::Nginx => {
                program.args(["-e", "stderr", "-c"]).arg(&file).arg("-p").arg(folder.path());
                ("nginx.conf", nginx(address))
            }
            Kind::Haproxy => {
                program.args(["-db", "-f"]).arg(&file);
                ("haproxy.cfg", haproxy(address))
            }
            Kind::Caddy | Kind::Apache => unreachable!("there is no example of {kind:?}"),
        };
        let text = fs::read_to_string(repository("deploy/cluster").join(example)).unwrap();
        fs::write(&file, changed(text, &changes, nodes)).unwrap();
        let process = Process::start(&mut program);
        eventually("the load balancer listens", || TcpStream::connect(address).is_ok());
        Self { address, process, _folder: folder }
    }

    /// What it has said since the last call.
    pub(crate) fn said(&self) -> Vec<String> {
        self.process.stderr.try_iter().collect()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

type Change = (&'static str, String);

/// The example with other addresses.
fn changed(mut text: String, changes: &[Change], nodes: &Nodes) -> String {
    for (shown, ours) in changes {
        assert!(text.contains(shown), "{shown}");
        text = text.replace(shown, ours);
    }
    for number in 0..nodes.count() {
        let shown = format!("node-{}:{EVENTS}", number + 1);
        assert!(text.contains(&shown), "{shown}");
        text = text.replace(&shown, &nodes.address(number).to_string());
    }
    text
}

/// One process, which ends with the test, and its files in its folder.
fn nginx(address: SocketAddr) -> Vec<Change> {
    let alone = "daemon off; master_process off; pid nginx.pid; error_log stderr;\nevents {";
    let folders = "http {
        access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f;
        uwsgi_temp_path u; scgi_temp_path s;";
    vec![
        ("worker_processes auto;", String::new()),
        ("worker_rlimit_nofile 65536;", String::new()),
        ("worker_connections 16384;", "worker_connections 1024;".into()),
        ("events {", alone.into()),
        ("http {", folders.into()),
        ("listen 80;", format!("listen {address};")),
    ]
}

fn haproxy(address: SocketAddr) -> Vec<Change> {
    vec![("bind :80", format!("bind {address}")), ("inter 1s", "inter 100ms".into())]
}
