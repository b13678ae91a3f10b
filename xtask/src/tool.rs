//! Cargo subcommands that tasks use, built once into `target/tools`.

use std::env;
use std::process::Command;

use crate::step::Step;

/// A crate with a program of the same name, at a fixed version.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
}

const FOLDER: &str = "target/tools";

impl Tool {
    pub(crate) fn is_here(&self) -> bool {
        let output = Command::new(self.program()).arg("--version").output();
        output.is_ok_and(|output| {
            let output = String::from_utf8_lossy(&output.stdout);
            output.split_whitespace().any(|word| word == self.version)
        })
    }

    /// Builds without optimization, which takes a third of the time; no task needs the speed.
    pub(crate) fn install(&self) -> Result<(), String> {
        let Self { name, version } = self;
        let install = "cargo install --quiet --locked --debug";
        Step::new("install", &format!("{install} --root {FOLDER} --version {version} {name}")).run()
    }

    pub(crate) fn program(&self) -> String {
        format!("{FOLDER}/bin/{}{}", self.name, env::consts::EXE_SUFFIX)
    }
}
