//! Published security advisories about the dependencies.

use crate::deny::CARGO_DENY;
use crate::step::Step;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Use the copy of the advisory database that an earlier run fetched
    #[arg(long)]
    offline: bool,
}

/// A chore of its own, apart from `deny`: an advisory can appear at any time, and then fails this
/// alone and not an unrelated change.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    if !CARGO_DENY.is_here() {
        CARGO_DENY.install()?;
    }
    let offline = if options.offline { "--offline " } else { "" };
    let program = CARGO_DENY.program();
    Step::new("advisories", &format!("{program} {offline}check advisories")).run()
}
