//! The proxies that the tests run.

use std::env::consts::ARCH;
use std::process::Command;

use crate::clients::{is_here, skip};
use crate::process::repository;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Nginx,
    Caddy,
    Apache,
    Haproxy,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Caddy => "caddy",
            Self::Apache => "apache",
            Self::Haproxy => "haproxy",
        }
    }

    /// Whether this run has it; if not, says that `test` is skipped.
    pub(crate) fn is_here(self, test: &str) -> bool {
        if !is_here(self.name(), test) {
            return false;
        }
        let found = self.version().output().is_ok_and(|output| output.status.success());
        if !found {
            skip(test, &format!("{} is missing; cargo xtask test brings it", self.name()));
        }
        found
    }

    /// What `cargo xtask test` has unpacked, else what is installed.
    pub(crate) fn program(self) -> Command {
        let (folder, name) = match self {
            Self::Nginx => ("sbin", "nginx"),
            Self::Caddy => ("bin", "caddy"),
            Self::Apache => ("sbin", "apache2"),
            Self::Haproxy => ("sbin", "haproxy"),
        };
        let unpacked = repository(&format!("target/proxies/usr/{folder}/{name}"));
        if !unpacked.exists() {
            return Command::new(name);
        }
        let mut program = Command::new(unpacked);
        program.env(
            "LD_LIBRARY_PATH",
            repository(&format!("target/proxies/usr/lib/{ARCH}-linux-gnu")),
        );
        program
    }

    fn version(self) -> Command {
        let mut program = self.program();
        program.arg(match self {
            Self::Caddy => "version",
            Self::Nginx | Self::Apache | Self::Haproxy => "-v",
        });
        program
    }
}
