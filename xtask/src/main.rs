//! The tasks of the workspace: `cargo xtask test` and its parts, fuzzing, stress tests,
//! measurements.

mod apt;
mod bench;
mod client;
mod compiled_clients;
mod crash;
mod dependencies;
mod deploy;
mod docs;
mod failures;
mod features;
mod fuzz;
mod hostile;
mod install;
mod package;
mod platforms;
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

/// The tasks of the workspace
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Install what the tests need besides Rust, then check and test everything
    Test(test::Options),
    /// Install what the tests need besides Rust, and nothing else
    Install(test::Options),
    /// Build each feature of the library alone, and limit the crates of the smallest build
    Features,
    /// Check the order of crates and modules, import cycles, headers, line widths and `unsafe`
    Tidy,
    /// Run the commands that the documents show
    Docs(docs::Options),
    /// Check the licenses, bans and sources of the dependencies
    Deny,
    /// Check the dependencies against the RustSec advisory database
    Advisories(dependencies::AdvisoryOptions),
    /// Kill the hub under load repeatedly, and check that no event is lost
    Crash(crash::Options),
    /// Run all attacks on a hub at once, and check that honest clients are not affected
    Hostile(hostile::Options),
    /// Fuzz the parsers of untrusted input
    Fuzz(fuzz::Options),
    /// Build the Debian package, install it into a folder, and run what it installs
    Package(package::Options),
    /// Compile the library's defaults for Windows and macOS
    Platforms,
    /// Check the Dockerfile, the manifests for Kubernetes and the workflows with their linters
    Deploy,
    /// Measure the log on disk, and the hub compared with other servers
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let task = Task::parse();
    let outcome = enter_workspace().and_then(|()| match task {
        Task::Test(options) => test::run(&options, check_task),
        Task::Install(options) => test::install(&options),
        Task::Features => features::run(),
        Task::Tidy => tidy::run(),
        Task::Docs(options) => docs::run(&options, check_task),
        Task::Deny => dependencies::deny(),
        Task::Advisories(options) => dependencies::advisories(&options),
        Task::Crash(options) => crash::run(&options),
        Task::Hostile(options) => hostile::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Package(options) => package::run(&options),
        Task::Platforms => platforms::run(),
        Task::Deploy => deploy::run(),
        Task::Bench(options) => bench::run(&options),
    });
    let Err(failure) = outcome else {
        return ExitCode::SUCCESS;
    };
    eprintln!("xtask: {failure}");
    ExitCode::FAILURE
}

/// Whether these words, from `xtask` on, are a task.
fn check_task(words: &[&str]) -> Result<(), String> {
    Task::try_parse_from(words).map(drop).map_err(|error| error.to_string())
}

/// Changes to the root of the workspace, to which all paths in the tasks are relative.
fn enter_workspace() -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    env::set_current_dir(&root).map_err(|error| format!("cannot enter {}: {error}", root.display()))
}
