//! Where the commands of a page run.

use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::docs::command;
use crate::step::Step;

/// The address in the documents, and the one that a hub gets if nothing says otherwise.
const DOCUMENTED: &str = "127.0.0.1:3000";
/// Folders of a machine, which are below the folder of the page instead.
const MACHINE: [&str; 5] = ["/etc/", "/var/lib/", "/run/", "/usr/local/", "/backup/"];

/// A folder, and an address for a hub. The folder is removed at the end.
pub(super) struct Place {
    folder: PathBuf,
    /// The hub's address.
    pub(super) address: SocketAddr,
    /// Where the program `carafe` is; `None` if commands run unchanged.
    programs: Option<PathBuf>,
    /// The time limit for one command.
    pub(super) patience: Duration,
}

impl Place {
    /// An empty folder, in which `carafe` is this program.
    pub(super) fn new(program: &Path) -> Result<Self, String> {
        let program = absolute(program)?;
        let folder = new_folder()?;
        let programs = program.parent().map(Path::to_path_buf);
        Ok(Self { folder, address: free_address()?, programs, patience: Duration::from_secs(60) })
    }

    /// A clone of the last commit.
    pub(super) fn clean_clone() -> Result<Self, String> {
        let address: SocketAddr = DOCUMENTED.parse().map_err(|error| format!("{error}"))?;
        TcpListener::bind(address).map_err(|error| format!("{address} must be free: {error}"))?;
        let folder = new_folder()?;
        Step::new("docs", "git clone --quiet --no-hardlinks .").arg(&folder).run()?;
        Ok(Self { folder, address, programs: None, patience: Duration::from_secs(3 * 3600) })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn is_clean_clone(&self) -> bool {
        self.programs.is_none()
    }

    /// The command as it runs here.
    pub(super) fn adapt(&self, command: &str) -> String {
        if self.is_clean_clone() {
            return command.into();
        }
        let mut adapted = command::with_built_program(command);
        for documented in [DOCUMENTED, "0.0.0.0:3000"] {
            adapted = adapted.replace(documented, &self.address.to_string());
        }
        for folder in MACHINE {
            let here = format!("{}{folder}", self.folder.display());
            for before in [" ", "=", ":", ">"] {
                adapted = adapted.replace(&format!("{before}{folder}"), &format!("{before}{here}"));
            }
        }
        adapted
    }

    /// A shell in this folder, without the settings of the person who runs it.
    pub(super) fn shell(&self) -> Command {
        let mut shell = Command::new("bash");
        shell.current_dir(&self.folder);
        let Some(programs) = &self.programs else {
            shell.env_remove("CARGO_TARGET_DIR");
            return shell;
        };
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("CARAFE_") {
                shell.env_remove(name);
            }
        }
        let path = env::var("PATH").unwrap_or_default();
        shell.env("PATH", format!("{}:{path}", programs.display()));
        shell.env("HOME", &self.folder);
        shell.env("CARAFE_LISTEN", self.address.to_string());
        shell.env("CARAFE_URL", format!("http://{}", self.address));
        shell
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Short, because the path of a Unix socket in it has at most 107 bytes.
fn new_folder() -> Result<PathBuf, String> {
    let made = Command::new("mktemp").args(["-d", "-t", "carafe-docs.XXXXXX"]).output();
    let made = made.map_err(|error| format!("mktemp: {error}"))?;
    Ok(PathBuf::from(String::from_utf8_lossy(&made.stdout).trim()))
}

fn absolute(program: &Path) -> Result<PathBuf, String> {
    program.canonicalize().map_err(|error| format!("{}: {error}", program.display()))
}

fn free_address() -> Result<SocketAddr, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    listener.and_then(|listener| listener.local_addr()).map_err(|error| error.to_string())
}
