//! Detects and installs what the tests need besides Rust.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::apt::{apt_get_as_root, update_lists};
use crate::compiled_clients::{Build, go_is_new_enough};
use crate::dependencies::CARGO_DENY;
use crate::step::{Step, output, runs};
use crate::unpack::Package;

const VENV: &str = "target/clients-venv";
const REQUIREMENTS: &str = "tests/clients/requirements.txt";

/// Something that the tests need.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    Curl,
    Node,
    Chromium,
    Python,
    Strace,
    /// The npm packages in the lock file of this folder.
    NodeModules(&'static str),
    PythonModules,
    Go,
    /// The JDK, and Maven for the libraries of the clients.
    Java,
    /// Clients that are compiled.
    Compiled(&'static Build),
    CargoDeny,
    /// A server that `bench/peers/NAME/install.sh` builds.
    Peer(&'static str),
    /// A Debian package that is unpacked instead of installed.
    Unpacked(&'static Package),
}

impl Piece {
    pub(crate) fn is_here(self) -> bool {
        match self {
            Self::Curl => runs("curl", "--version"),
            Self::Node => node_is_new_enough() && runs("npm", "--version"),
            Self::Chromium => runs("chromium", "--version"),
            Self::Strace => runs("strace", "--version"),
            Self::Python => output("python3", &["-c", "import ensurepip, venv"]).is_some(),
            Self::NodeModules(folder) => node_modules_are_current(folder),
            Self::PythonModules => python_modules_are_current(),
            Self::Go => go_is_new_enough(),
            Self::Java => runs("javac", "-version") && runs("mvn", "--version"),
            Self::Compiled(build) => build.is_here(),
            Self::CargoDeny => CARGO_DENY.is_here(),
            Self::Peer(name) => Path::new("target/peers/bin").join(name).exists(),
            Self::Unpacked(package) => package.is_here(),
        }
    }

    /// The Debian packages that contain it.
    fn debian_packages(self) -> &'static [&'static str] {
        match self {
            Self::Curl => &["curl"],
            Self::Node => &["nodejs", "npm"],
            Self::Chromium => &["chromium"],
            Self::Strace => &["strace"],
            Self::Python => &["python3", "python3-venv"],
            Self::NodeModules(_)
            | Self::PythonModules
            | Self::Go
            | Self::Java
            | Self::Compiled(_)
            | Self::CargoDeny
            | Self::Peer(_)
            | Self::Unpacked(_) => &[],
        }
    }

    fn install(self) -> Result<(), String> {
        match self {
            Self::Curl
            | Self::Node
            | Self::Chromium
            | Self::Python
            | Self::Go
            | Self::Java
            | Self::Strace => Ok(()),
            Self::Compiled(build) => build.install(),
            Self::NodeModules(folder) => Step::new("install", "npm ci --prefix").arg(folder).run(),
            Self::PythonModules => install_python_modules(),
            Self::CargoDeny => CARGO_DENY.install(),
            Self::Peer(name) => {
                Step::new("install", "sh").arg(format!("bench/peers/{name}/install.sh")).run()
            }
            Self::Unpacked(package) => package.unpack(),
        }
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodeModules(folder) => write!(f, "the Node packages of {folder}"),
            Self::PythonModules => write!(f, "the Python packages of {REQUIREMENTS}"),
            Self::Go => write!(f, "Go 1.23"),
            Self::Java => write!(f, "a JDK and Maven"),
            Self::Compiled(build) => write!(f, "{}", build.name()),
            Self::CargoDeny => write!(f, "{} {}", CARGO_DENY.name, CARGO_DENY.version),
            Self::Peer(name) => write!(f, "{name}, built into target/peers/bin"),
            Self::Unpacked(package) => write!(f, "{package}"),
            debian => write!(f, "{} (Debian)", debian.debian_packages().join(", ")),
        }
    }
}

/// Installs `pieces`: the Debian packages first, because the others need them.
pub(crate) fn install(pieces: &[Piece]) -> Result<(), String> {
    for piece in pieces {
        println!("install: {piece}");
    }
    let packages: Vec<&str> =
        pieces.iter().flat_map(|piece| piece.debian_packages()).copied().collect();
    if !packages.is_empty() {
        install_debian_packages(&packages)?;
    }
    pieces.iter().try_for_each(|piece| piece.install())
}

fn install_debian_packages(packages: &[&str]) -> Result<(), String> {
    let packages = packages.join(" ");
    let Some(apt_get) = apt_get_as_root() else {
        return Err(format!(
            "cannot install {packages} without Debian's apt-get, as root or with sudo: install \
             them in another way, or skip what needs them with --no-install"
        ));
    };
    update_lists(apt_get)?;
    let install = "install --quiet --quiet --yes --no-install-recommends";
    Step::new("install", &format!("{apt_get} {install} {packages}")).run()
}

/// npm writes its own copy of the lock file once everything is installed.
fn node_modules_are_current(folder: &str) -> bool {
    let written = |path: PathBuf| fs::metadata(path)?.modified();
    let wanted = written(Path::new(folder).join("package-lock.json"));
    let installed = written(Path::new(folder).join("node_modules/.package-lock.json"));
    matches!((wanted, installed), (Ok(wanted), Ok(installed)) if wanted <= installed)
}

fn node_is_new_enough() -> bool {
    let version = output("node", &["--version"]).unwrap_or_default();
    let major = version.trim_start_matches('v').split('.').next();
    major.and_then(|major| major.parse().ok()) >= Some(18)
}

fn python_modules_are_current() -> bool {
    let installed = fs::read(format!("{VENV}/requirements.txt"));
    matches!((fs::read(REQUIREMENTS), installed), (Ok(wanted), Ok(installed)) if wanted == installed)
}

/// The copy of the requirements is written last, as the mark of a complete installation.
fn install_python_modules() -> Result<(), String> {
    Step::new("install", "python3 -m venv --clear").arg(VENV).run()?;
    let pip = format!("{VENV}/bin/pip install --quiet --requirement {REQUIREMENTS}");
    Step::new("install", &pip).run()?;
    fs::copy(REQUIREMENTS, format!("{VENV}/requirements.txt"))
        .map(drop)
        .map_err(|error| format!("{VENV}/requirements.txt: {error}"))
}
