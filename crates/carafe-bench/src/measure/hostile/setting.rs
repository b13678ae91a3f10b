//! The hub that is attacked: its log, its limits and its keys.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use carafe_log::{DiskOptions, Publication};
use carafe_protocol::Topic;
use tempfile::TempDir;

use crate::child::cores;
use crate::filling::Filling;
use crate::honest::{self, PUBLISHERS};
use crate::outcome::Outcome;
use crate::server::Server;

use super::limits;

/// Topics that are in the log before.
const TOPICS: u64 = 200_000;

pub(super) struct Setting {
    carafe: PathBuf,
    folder: TempDir,
    pub(super) tokens: Vec<String>,
    pub(super) attackers_token: String,
    /// The core of the hub, and that of the attackers, where there are two.
    hub: Option<usize>,
    pub(super) others: Option<usize>,
}

impl Setting {
    pub(super) fn new(carafe: &Path) -> Outcome<Self> {
        fs::create_dir_all("target/bench")?;
        let folder = tempfile::tempdir_in("target/bench")?;
        let secret = folder.path().join("secret");
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&secret)?;
        file.write_all(b"a secret of the measurements, not secret at all")?;
        let token =
            |number| honest::token(carafe, &secret, &format!("publisher-{number}"), "honest/*");
        let tokens = (0..PUBLISHERS).map(token).collect::<Outcome<_>>()?;
        let attackers_token = honest::token(carafe, &secret, "attacker", "attack/*")?;
        fill(&folder.path().join("log"))?;
        let (hub, others) = match cores()?[..] {
            [hub, others, ..] => (Some(hub), Some(others)),
            _ => (None, None),
        };
        Ok(Self { carafe: carafe.into(), folder, tokens, attackers_token, hub, others })
    }

    pub(super) fn start_hub(&self) -> Outcome<Server> {
        let log = format!("disk:{}", self.folder.path().join("log").display());
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={0}:{0}", limits::DESCRIPTORS)).arg("--").arg(&self.carafe);
        command.args(["serve", "--listen", "127.0.0.1:0", "--anonymous", "subscribe", "--mercure"]);
        command.args(["--log", &log]).args(limits::options());
        command.arg("--secret-file").arg(self.folder.path().join("secret"));
        Server::start(&command, self.hub)
    }
}

fn fill(folder: &Path) -> Outcome {
    let topic =
        |number: u64| Some(Publication::new(Topic::new(&format!("dev/{number:07}")).ok()?, "x"));
    Filling::open(folder, DiskOptions::default())?.append((0..TOPICS).filter_map(topic))
}
