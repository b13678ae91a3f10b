//! Unpacks Debian packages whose installation would start services, with the libraries that are not
//! installed.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::apt::{apt_get_as_root, update_lists};
use crate::step::{Step, output, runs, runs_with};

/// Where the tests look before they use an installed program.
const FOLDER: &str = "target/proxies";

pub(crate) const NGINX: Package =
    Package { name: "nginx", file: "usr/sbin/nginx", version: Some("-v") };
pub(crate) const CADDY: Package =
    Package { name: "caddy", file: "usr/bin/caddy", version: Some("version") };
/// `promtool` checks the metrics.
pub(crate) const PROMETHEUS: Package =
    Package { name: "prometheus", file: "usr/bin/promtool", version: Some("--version") };
pub(crate) const NCHAN: Package = Package {
    name: "libnginx-mod-nchan",
    file: "usr/lib/nginx/modules/ngx_nchan_module.so",
    version: None,
};
/// Gives a program another time. Tests preload it.
pub(crate) const FAKETIME: Package = Package {
    name: "libfaketime",
    file: if cfg!(target_arch = "aarch64") {
        "usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"
    } else {
        "usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
    },
    version: None,
};

pub(crate) const APACHE: Package =
    Package { name: "apache2-bin", file: "usr/sbin/apache2", version: Some("-v") };
pub(crate) const HAPROXY: Package =
    Package { name: "haproxy", file: "usr/sbin/haproxy", version: Some("-v") };

/// A Debian package with one program, or one module of a program.
#[derive(PartialEq, Eq)]
pub(crate) struct Package {
    name: &'static str,
    file: &'static str,
    /// The argument that makes a program print its version and exit.
    version: Option<&'static str>,
}

impl Package {
    pub(crate) fn is_here(&self) -> bool {
        let unpacked = format!("{FOLDER}/{}", self.file);
        match self.version {
            Some(version) => {
                runs_with(&libraries(), &unpacked, version) || runs(self.program(), version)
            }
            None => Path::new(&unpacked).exists() || Path::new("/").join(self.file).exists(),
        }
    }

    pub(crate) fn unpack(&self) -> Result<(), String> {
        fs::create_dir_all(FOLDER).map_err(|error| format!("{FOLDER}: {error}"))?;
        let names = self.download().or_else(|_| {
            let apt_get = apt_get_as_root().ok_or_else(|| self.way_out())?;
            update_lists(apt_get)?;
            self.download()
        })?;
        for name in names {
            let package = downloaded(&name).ok_or_else(|| self.way_out())?;
            Step::new("install", "dpkg --extract").arg(package).arg(FOLDER).run()?;
        }
        Ok(())
    }

    /// The names of the packages that it has downloaded.
    fn download(&self) -> Result<Vec<String>, String> {
        let names = self.with_missing_libraries().ok_or_else(|| self.way_out())?;
        let download = format!("env --chdir={FOLDER} apt-get download --quiet --quiet");
        names.iter().fold(Step::new("install", &download), Step::arg).run()?;
        Ok(names)
    }

    /// Without the lock that only root may take, apt-get lists what an installation would download.
    fn with_missing_libraries(&self) -> Option<Vec<String>> {
        let options = "--print-uris --quiet --quiet --no-install-recommends";
        let mut arguments: Vec<&str> = options.split(' ').collect();
        arguments.extend(["--option", "Debug::NoLocking=1", "install", self.name]);
        let listed = output("apt-get", &arguments)?;
        let files = listed.lines().filter_map(|line| line.split(' ').nth(1));
        let names = files.filter_map(|file| file.split('_').next());
        let libraries = names.filter(|name| name.starts_with("lib") && *name != self.name);
        Some([self.name].into_iter().chain(libraries).map(String::from).collect())
    }

    fn program(&self) -> &str {
        self.file.rsplit('/').next().unwrap_or(self.file)
    }

    fn way_out(&self) -> String {
        let name = self.name;
        format!(
            "cannot download {name} without Debian's apt-get: install it in another way, or skip \
             what needs it with --no-install"
        )
    }
}

/// Where Debian's libraries for this machine are unpacked.
fn libraries() -> String {
    format!("{FOLDER}/usr/lib/{}-linux-gnu", std::env::consts::ARCH)
}

/// The newest package file, since an older one may be there.
fn downloaded(package: &str) -> Option<PathBuf> {
    let files = fs::read_dir(FOLDER).ok()?.flatten();
    let ours = files.filter(|file| {
        let name = file.file_name().into_string().unwrap_or_default();
        name.starts_with(&format!("{package}_")) && name.ends_with(".deb")
    });
    ours.max_by_key(|file| file.metadata().and_then(|metadata| metadata.modified()).ok())
        .map(|file| file.path())
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (Debian), unpacked into {FOLDER}", self.name)
    }
}
