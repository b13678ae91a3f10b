//! `cargo xtask platforms`: compiles the library's defaults for other systems, which needs no
//! compiler of C for them.

use std::process::{Command, Stdio};

use crate::step::{Step, output};

/// Systems on which the library's default features compile.
const TARGETS: [&str; 2] = ["aarch64-apple-darwin", "x86_64-pc-windows-gnu"];

pub(crate) fn run() -> Result<(), String> {
    for target in TARGETS {
        add(target)?;
        Step::new("platforms", "cargo check --locked --package carafe --target")
            .arg(target)
            .run()?;
    }
    says_why("carafe-log", "disk", "the feature `disk` of Carafe's log needs Unix")
}

/// Fails unless building the feature for Windows fails with this sentence.
fn says_why(package: &str, feature: &str, sentence: &str) -> Result<(), String> {
    let mut check = Command::new("cargo");
    check.args(["check", "--locked", "--quiet", "--target", TARGETS[1], "--package", package]);
    check.args(["--no-default-features", "--features", feature]);
    let ended = check.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&ended.stderr);
    if ended.status.success() || !said.contains(sentence) {
        return Err(format!("platforms: {package}/{feature} does not say {sentence:?}: {said}"));
    }
    println!("platforms: {package}/{feature} says why it does not compile for Windows");
    Ok(())
}

fn add(target: &str) -> Result<(), String> {
    let installed = output("rustup", &["target", "list", "--installed"]).unwrap_or_default();
    if installed.lines().any(|line| line == target) {
        return Ok(());
    }
    Step::new("install", "rustup target add").arg(target).run()
}
