//! `cargo xtask package`: builds the Debian package, and checks what it installs.

mod installed;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::step::Step;
use crate::tool::Tool;

const CARGO_DEB: Tool = Tool { name: "cargo-deb", version: "3.8.0" };

/// Manual pages and completions, which the program prints itself.
const FILES: &str = "target/package-files";

/// Where the package is written to.
const OUTPUT: &str = "target/debian";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Profile of the build: `dev` is built faster
    #[arg(long, default_value = "release")]
    profile: String,
    /// Target of the build, such as x86_64-unknown-linux-musl [default: this machine]
    #[arg(long)]
    target: Option<String>,
}

pub(crate) fn run(options: &Options) -> Result<(), String> {
    if !CARGO_DEB.is_here() {
        CARGO_DEB.install()?;
    }
    let Options { profile, target } = options;
    let build = format!("cargo build --locked --package carafe-cli --profile {profile}");
    with_target(Step::new("build", &build), target.as_deref()).run()?;
    write_files(&options.program())?;
    let _ = fs::remove_dir_all(OUTPUT);
    let deb = format!(
        "{} --package carafe-cli --profile {profile} --no-build --output {OUTPUT}/",
        CARGO_DEB.program()
    );
    let deb = with_target(Step::new("package", &deb), target.as_deref());
    // Compressing a program with the information for debuggers takes minutes.
    if profile == "dev" { deb.arg("--fast") } else { deb }.run()?;
    installed::check(&package()?)
}

fn with_target(step: Step, target: Option<&str>) -> Step {
    target.into_iter().fold(step, |step, target| step.arg("--target").arg(target))
}

impl Options {
    /// The program that was built.
    fn program(&self) -> PathBuf {
        let profile = if self.profile == "dev" { "debug" } else { &self.profile };
        let folder = self.target.iter().fold(PathBuf::from("target"), |path, part| path.join(part));
        folder.join(profile).join("carafe")
    }
}

fn write_files(program: &Path) -> Result<(), String> {
    let pages = format!("{FILES}/man");
    let _ = fs::remove_dir_all(FILES);
    fs::create_dir_all(&pages).map_err(|error| format!("{pages}: {error}"))?;
    let program = program.display();
    Step::new("man", &format!("{program} man --folder {pages}")).run()?;
    for (shell, file) in [("bash", "carafe.bash"), ("zsh", "_carafe"), ("fish", "carafe.fish")] {
        let file = format!("{FILES}/{file}");
        let output = fs::File::create(&file).map_err(|error| format!("{file}: {error}"))?;
        let mut completions = Command::new(program.to_string());
        completions.args(["completions", shell]).stdout(Stdio::from(output));
        let ended = completions.status().map_err(|error| error.to_string())?;
        if !ended.success() {
            return Err(format!("cannot write the completions of {shell}"));
        }
    }
    Ok(())
}

fn package() -> Result<PathBuf, String> {
    let files = fs::read_dir(OUTPUT).map_err(|error| format!("{OUTPUT}: {error}"))?;
    let mut paths = files.flatten().map(|file| file.path());
    paths
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .ok_or_else(|| format!("{OUTPUT} has no package"))
}
