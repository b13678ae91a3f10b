//! Checks the dependencies with cargo-deny: against `deny.toml`, and for security advisories.

use crate::step::Step;
use crate::tool::Tool;

#[derive(clap::Args)]
pub(crate) struct AdvisoryOptions {
    /// Use the copy of the advisory database that an earlier run has fetched
    #[arg(long)]
    offline: bool,
}

pub(crate) const CARGO_DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2" };

/// `cargo xtask deny`.
pub(crate) fn deny() -> Result<(), String> {
    if !CARGO_DENY.is_here() {
        CARGO_DENY.install()?;
    }
    check()
}

/// Checks everything but advisories, with the installed cargo-deny.
pub(crate) fn check() -> Result<(), String> {
    let program = CARGO_DENY.program();
    Step::new("deny", &format!("{program} check bans licenses sources")).run()
}

/// `cargo xtask advisories`. Not part of `check`, because a new advisory must not fail an unrelated
/// change.
pub(crate) fn advisories(options: &AdvisoryOptions) -> Result<(), String> {
    if !CARGO_DENY.is_here() {
        CARGO_DENY.install()?;
    }
    let offline = if options.offline { "--offline " } else { "" };
    let program = CARGO_DENY.program();
    Step::new("advisories", &format!("{program} {offline}check advisories")).run()
}
