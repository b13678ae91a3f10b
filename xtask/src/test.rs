//! `cargo xtask test`: all checks before a commit, the fast ones first.

use crate::client::{Client, JAVASCRIPT};
use crate::dependencies;
use crate::docs;
use crate::failures::Failures;
use crate::features;
use crate::install::{self, Piece};
use crate::step::Step;
use crate::tally::Tally;
use crate::tidy;

/// Every crate with every feature.
const ALL: &str = "--workspace --all-features";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Install nothing, and skip tests whose clients are missing
    #[arg(long)]
    no_install: bool,
    /// Skip the tests that drive Chromium
    #[arg(long)]
    no_browser: bool,
    /// Skip the tests that drive the npm package `eventsource`
    #[arg(long)]
    no_node: bool,
    /// Skip the tests that drive Python's httpx-sse
    #[arg(long)]
    no_python: bool,
}

pub(crate) fn run(options: &Options, check_task: docs::CheckTask) -> Result<(), String> {
    Step::new("fmt", "cargo fmt --all --check").run()?;
    tidy::run()?;
    let setup = Setup::of(options);
    setup.report();
    install::install(&setup.to_install)?;
    Step::new("clippy", &format!("cargo clippy {ALL} --all-targets -- -D warnings")).run()?;
    let mut tally = test(&setup.without)?;
    if setup.is_without(Client::Node) {
        println!("client (JavaScript): skipped: this run is without node");
    } else {
        test_javascript(&setup.without, &mut tally)?;
    }
    if setup.is_without(Client::Curl) {
        println!("docs: skipped: the documents use curl, which is missing");
    } else {
        docs::run(&docs::Options::default(), check_task)?;
    }
    Step::new("doc", &format!("cargo doc {ALL} --no-deps"))
        .env("RUSTDOCFLAGS", "-D warnings")
        .run()?;
    features::run()?;
    if setup.checks_dependencies {
        dependencies::check()?;
    }
    println!("{tally}");
    Ok(())
}

pub(crate) fn install(options: &Options) -> Result<(), String> {
    let setup = Setup::of(options);
    setup.report();
    install::install(&setup.to_install)
}

/// What has to be installed first, and which clients the run does without.
struct Setup {
    to_install: Vec<Piece>,
    without: Vec<(Client, String)>,
    checks_dependencies: bool,
}

impl Setup {
    fn of(options: &Options) -> Self {
        let mut setup =
            Self { to_install: Vec::new(), without: Vec::new(), checks_dependencies: true };
        for client in Client::ALL {
            match options.reason_against(client) {
                Some(reason) => setup.without.push((client, reason)),
                None => setup.need(client.pieces()),
            }
        }
        if options.no_install {
            setup.checks_dependencies = Piece::CargoDeny.is_here();
        } else {
            setup.need(vec![Piece::CargoDeny]);
        }
        setup
    }

    fn need(&mut self, pieces: Vec<Piece>) {
        for piece in pieces {
            if !self.to_install.contains(&piece) && !piece.is_here() {
                self.to_install.push(piece);
            }
        }
    }

    fn is_without(&self, client: Client) -> bool {
        self.without.iter().any(|(without, _)| *without == client)
    }

    fn report(&self) {
        for (client, reason) in &self.without {
            println!("without {}: {reason}", client.name());
        }
        if !self.checks_dependencies {
            println!("without {}: it is missing", Piece::CargoDeny);
        }
    }
}

impl Options {
    fn reason_against(&self, client: Client) -> Option<String> {
        let unwanted = match client {
            Client::Node => self.no_node,
            Client::Python => self.no_python,
            Client::Browser => self.no_browser,
            _ => false,
        };
        if unwanted {
            return Some(format!("--no-{} was given", client.name()));
        }
        if let Some(toolchain) = client.toolchain().filter(|toolchain| !toolchain.is_here()) {
            return Some(format!("{toolchain}: missing"));
        }
        if !self.no_install {
            return None;
        }
        let missing = client.pieces().into_iter().find(|piece| !piece.is_here())?;
        Some(format!("{missing}: missing"))
    }
}

/// Continues after a failure, so that all tests are counted.
fn test(without: &[(Client, String)]) -> Result<Tally, String> {
    let mut tally = Tally::default();
    let step = Step::new("test", &format!("cargo test {ALL} --no-fail-fast"));
    run_and_count(without_clients(step, without), &mut tally)?;
    Ok(tally)
}

/// The tests in Chromium use the hub that `cargo test` has built.
fn test_javascript(without: &[(Client, String)], tally: &mut Tally) -> Result<(), String> {
    let step = Step::new("client (JavaScript)", "npm test --silent --prefix").arg(JAVASCRIPT);
    run_and_count(without_clients(step, without), tally)
}

fn without_clients(step: Step, without: &[(Client, String)]) -> Step {
    let names: Vec<&str> = without.iter().map(|(client, _)| client.name()).collect();
    if names.is_empty() { step } else { step.env("CARAFE_TEST_WITHOUT", &names.join(",")) }
}

fn run_and_count(step: Step, tally: &mut Tally) -> Result<(), String> {
    let mut failures = Failures::default();
    let read = |line: &str| {
        tally.read(line);
        failures.read(line);
    };
    step.run_and_read(read).inspect_err(|_| println!("{failures}{tally}"))
}
