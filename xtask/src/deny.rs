//! The dependencies, against `deny.toml`.

use crate::step::Step;
use crate::tool::Tool;

pub(crate) const CARGO_DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2" };

pub(crate) fn run() -> Result<(), String> {
    if !CARGO_DENY.is_here() {
        CARGO_DENY.install()?;
    }
    check()
}

/// Leaves out the advisories, which are a chore of their own: a new one must not fail an unrelated
/// change.
pub(crate) fn check() -> Result<(), String> {
    let program = CARGO_DENY.program();
    Step::new("deny", &format!("{program} check bans licenses sources")).run()
}
