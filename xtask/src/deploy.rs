//! `cargo xtask deploy`: checks what cannot run on every machine with its linters.

use std::fs;

use crate::step::Step;

const VENV: &str = "target/lint-venv";
const REQUIREMENTS: &str = "deploy/requirements.txt";

const WORKFLOWS: [&str; 2] = [".github/workflows/advisories.yml", ".github/workflows/release.yml"];

pub(crate) fn run() -> Result<(), String> {
    install()?;
    lint("hadolint").arg("Dockerfile").run()?;
    lint("kubernetes-validate").arg("--strict").arg("deploy/kubernetes/carafe.yaml").run()?;
    let shellcheck = lint("shellcheck").arg("deploy/debian/postinst");
    shellcheck.arg("deploy/debian/postrm").run()?;
    let schema = lint("check-jsonschema").arg("--builtin-schema").arg("vendor.github-workflows");
    WORKFLOWS.iter().fold(schema, Step::arg).run()?;
    // Without the network: nothing is looked up about the actions.
    lint("zizmor").arg("--offline").arg(".github/workflows").run()
}

fn lint(program: &str) -> Step {
    Step::new("lint", &format!("{VENV}/bin/{program}"))
}

/// The copy of the requirements is written last, as the mark of a complete installation.
fn install() -> Result<(), String> {
    let mark = format!("{VENV}/requirements.txt");
    if matches!((fs::read(REQUIREMENTS), fs::read(&mark)), (Ok(a), Ok(b)) if a == b) {
        return Ok(());
    }
    Step::new("install", "python3 -m venv --clear").arg(VENV).run()?;
    let pip = format!("{VENV}/bin/pip install --quiet --requirement {REQUIREMENTS}");
    Step::new("install", &pip).run()?;
    fs::copy(REQUIREMENTS, &mark).map(drop).map_err(|error| format!("{mark}: {error}"))
}
