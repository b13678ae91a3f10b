//! Debian's package manager.

use crate::step::{Step, output, runs};

pub(crate) fn update_lists(apt_get: &str) -> Result<(), String> {
    Step::new("install", &format!("{apt_get} update --quiet --quiet")).run()
}

pub(crate) fn apt_get_as_root() -> Option<&'static str> {
    output("apt-get", &["--version"])?;
    if output("id", &["--user"])?.trim() == "0" {
        return Some("env DEBIAN_FRONTEND=noninteractive apt-get");
    }
    runs("sudo", "--version").then_some("sudo DEBIAN_FRONTEND=noninteractive apt-get")
}
