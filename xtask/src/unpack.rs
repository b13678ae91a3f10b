//! Unpacks Debian packages whose installation would start services. They need only libraries that
//! every Debian has.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::apt::{apt_get_as_root, update_lists};
use crate::step::{Step, runs};

/// Where the tests look before they use an installed program.
const FOLDER: &str = "target/proxies";

pub(crate) const NGINX: Package =
    Package { name: "nginx", file: "usr/sbin/nginx", version: Some("-v") };
pub(crate) const CADDY: Package =
    Package { name: "caddy", file: "usr/bin/caddy", version: Some("version") };
pub(crate) const NCHAN: Package = Package {
    name: "libnginx-mod-nchan",
    file: "usr/lib/nginx/modules/ngx_nchan_module.so",
    version: None,
};

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
            Some(version) => runs(&unpacked, version) || runs(self.name, version),
            None => Path::new(&unpacked).exists() || Path::new("/").join(self.file).exists(),
        }
    }

    pub(crate) fn unpack(&self) -> Result<(), String> {
        fs::create_dir_all(FOLDER).map_err(|error| format!("{FOLDER}: {error}"))?;
        if self.download().is_err() {
            let apt_get = apt_get_as_root().ok_or_else(|| self.way_out())?;
            update_lists(apt_get)?;
            self.download()?;
        }
        let package = self.downloaded().ok_or_else(|| self.way_out())?;
        Step::new("install", "dpkg --extract").arg(package).arg(FOLDER).run()
    }

    fn download(&self) -> Result<(), String> {
        let download =
            format!("env --chdir={FOLDER} apt-get download --quiet --quiet {}", self.name);
        Step::new("install", &download).run()
    }

    /// The newest package file, since an older one may be there.
    fn downloaded(&self) -> Option<PathBuf> {
        let files = fs::read_dir(FOLDER).ok()?.flatten();
        let ours = files.filter(|file| {
            let name = file.file_name().into_string().unwrap_or_default();
            name.starts_with(&format!("{}_", self.name)) && name.ends_with(".deb")
        });
        ours.max_by_key(|file| file.metadata().and_then(|metadata| metadata.modified()).ok())
            .map(|file| file.path())
    }

    fn way_out(&self) -> String {
        let name = self.name;
        format!(
            "cannot download {name} without Debian's apt-get: install it in another way, or skip \
             what needs it with --no-install"
        )
    }
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (Debian), unpacked into {FOLDER}", self.name)
    }
}
