//! The chores of the workspace: `cargo xtask test` and its parts.

mod advisories;
mod apt;
mod bench;
mod client;
mod crash;
mod deny;
mod features;
mod fuzz;
mod hostile;
mod install;
mod step;
mod tally;
mod test;
mod tidy;
mod tool;
mod unpack;

use std::env;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

/// The chores of the workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Chore {
    /// Install what the tests need beside Rust, then check and test everything
    Test(test::Options),
    /// Build each feature of the library alone, and count the crates of the smallest
    Features,
    /// Check the order of crates and modules, headers, widths and `unsafe`
    Tidy,
    /// Check the licences, bans and sources of the dependencies
    Deny,
    /// Check the dependencies against the database of security advisories
    Advisories(advisories::Options),
    /// Kill the hub under load, again and again, and check that nothing is lost
    Crash(crash::Options),
    /// Attack a hub that has honest clients in every way at once, and check that these notice
    /// nothing
    Hostile(hostile::Options),
    /// Fuzz the decoder of event streams
    Fuzz(fuzz::Options),
    /// Measure the log on disk, and the hub beside others
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let chore = Chore::parse();
    let outcome = enter_workspace().and_then(|()| match chore {
        Chore::Test(options) => test::run(&options),
        Chore::Features => features::run(),
        Chore::Tidy => tidy::run(),
        Chore::Deny => deny::run(),
        Chore::Advisories(options) => advisories::run(&options),
        Chore::Crash(options) => crash::run(&options),
        Chore::Hostile(options) => hostile::run(&options),
        Chore::Fuzz(options) => fuzz::run(&options),
        Chore::Bench(options) => bench::run(&options),
    });
    let Err(failure) = outcome else {
        return ExitCode::SUCCESS;
    };
    eprintln!("xtask: {failure}");
    ExitCode::FAILURE
}

/// Makes every chore work from any folder: all of them name paths from the workspace's root.
fn enter_workspace() -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    env::set_current_dir(&root).map_err(|error| format!("cannot enter {}: {error}", root.display()))
}
