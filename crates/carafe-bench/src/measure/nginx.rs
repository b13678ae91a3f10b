//! nginx: as a hub with nchan, and before other servers.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use crate::outcome::Outcome;
use crate::server::{Server, Setup, free_port};

const NGINX: [&str; 2] = ["target/proxies/usr/sbin/nginx", "/usr/sbin/nginx"];
const MODULE: [&str; 2] = [
    "target/proxies/usr/lib/nginx/modules/ngx_nchan_module.so",
    "/usr/lib/nginx/modules/ngx_nchan_module.so",
];

/// With nchan, Debian's nginx insists on its folder in /var/lib, whatever its configuration: it
/// gets one that only it sees.
const WITH_A_FOLDER: &str = "mount -t tmpfs tmpfs /var/lib && mkdir /var/lib/nginx && \
    exec setpriv --pdeathsig KILL -- \"$@\"";

/// With the configuration in this folder, which listens on this port.
pub(crate) fn proxy(folder: &Path, port: u16) -> Outcome<Server> {
    let mut command = Command::new(first_of(NGINX)?);
    command.args(["-e", "stderr", "-c", "nginx.conf", "-p"]).arg(folder);
    Server::start_at(&command, None, port, "http")
}

pub(crate) fn nchan(setup: &Setup<'_>) -> Outcome<Server> {
    let (nginx, module) = (first_of(NGINX)?, first_of(MODULE)?);
    let folder = env::current_dir()?.join("target/peers/nchan");
    fs::create_dir_all(&folder)?;
    fs::copy(module, folder.join("ngx_nchan_module.so"))?;
    if let Some(certificate) = setup.tls {
        fs::copy(certificate.chain(), folder.join("certificate.pem"))?;
        fs::copy(certificate.key(), folder.join("key.pem"))?;
    }
    let port = free_port()?;
    let fill = |template: &str, name: &str| -> Outcome {
        let config = fs::read_to_string(Path::new("bench/peers/nchan").join(template))?
            .replace("FOLDER", &folder.display().to_string())
            .replace("PORT", &port.to_string());
        Ok(fs::write(folder.join(name), config)?)
    };
    fill("nginx.conf", "nginx.conf")?;
    fill(if setup.tls.is_some() { "tls.conf" } else { "plain.conf" }, "listen.conf")?;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-c", WITH_A_FOLDER, "sh"]).arg(nginx);
    command.arg("-p").arg(&folder).arg("-c").arg(folder.join("nginx.conf"));
    Server::start_at(&command, setup.core, port, setup.scheme())
}

fn first_of(paths: [&str; 2]) -> Outcome<PathBuf> {
    let found = paths.iter().map(PathBuf::from).find(|path| path.exists());
    found.ok_or_else(|| {
        format!("{} is missing: cargo xtask bench fanout brings it", paths[0]).into()
    })
}
