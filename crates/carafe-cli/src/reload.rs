//! Reloads configuration, keys and certificates on SIGHUP, and when their files change.
//!
//! One task waits for both; files are read on a blocking thread, since they may be on a slow disk.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::{error, info};

use crate::service_manager;

/// How often files are checked for changes.
const INTERVAL: Duration = Duration::from_secs(1);

/// Returns what has changed, or `None` if the changed files say enough.
type Reload = Box<dyn Fn() -> Result<Option<String>, String> + Send>;

/// Everything that can be reloaded.
#[derive(Default)]
pub(crate) struct Reloads(Vec<Reloadable>);

impl Reloads {
    /// Adds something that was loaded from `files`. When `reload` fails, the previous state stays
    /// in use.
    pub(crate) fn add(
        &mut self,
        what: &'static str,
        files: impl IntoIterator<Item = impl Into<PathBuf>>,
        reload: impl Fn() -> Result<Option<String>, String> + Send + 'static,
    ) {
        let files: Vec<_> = files.into_iter().map(Into::into).collect();
        self.add_changing(what, move || files.clone(), reload);
    }

    /// Like `add`, for files that name other files. When the names change it is reloaded once more,
    /// so that no change in between is missed.
    pub(crate) fn add_changing(
        &mut self,
        what: &'static str,
        files: impl Fn() -> Vec<PathBuf> + Send + 'static,
        reload: impl Fn() -> Result<Option<String>, String> + Send + 'static,
    ) {
        let stamps = stamps(&files());
        self.0.push(Reloadable {
            what,
            files: Box::new(files),
            reload: Box::new(reload),
            loaded: stamps.clone(),
            seen: stamps,
        });
    }

    /// Handles SIGHUP from now on, and starts the task.
    pub(crate) fn start(self) -> io::Result<()> {
        let hangup = signal(SignalKind::hangup())?;
        let mut look = interval(INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::spawn(self.run(hangup, look));
        Ok(())
    }

    async fn run(mut self, mut hangup: Signal, mut look: Interval) {
        loop {
            let requested = tokio::select! {
                Some(()) = hangup.recv() => true,
                _ = look.tick(), if !self.0.is_empty() => false,
            };
            if requested {
                service_manager::reloads();
            }
            if requested && self.0.is_empty() {
                info!(
                    "nothing to reload: there is no --config, and no file with keys or a \
                     certificate"
                );
            }
            let checked = spawn_blocking(move || {
                self.0.iter_mut().for_each(|reloadable| reloadable.check(requested));
                self
            });
            let Ok(after) = checked.await else {
                return error!("reloading has stopped: a reload panicked");
            };
            self = after;
            if requested {
                service_manager::has_reloaded();
            }
        }
    }
}

struct Reloadable {
    what: &'static str,
    files: Box<dyn Fn() -> Vec<PathBuf> + Send>,
    reload: Reload,
    loaded: Stamps,
    seen: Stamps,
}

impl Reloadable {
    /// Reloads if requested, or if the files have changed and then stayed the same for an interval:
    /// a certificate and its key are not written at the same instant.
    fn check(&mut self, requested: bool) {
        let now = stamps(&(self.files)());
        let is_stable = now == self.seen;
        self.seen.clone_from(&now);
        if requested || (is_stable && now != self.loaded) {
            let changed = changed_files(&self.loaded, &now);
            self.loaded = now;
            self.reload(changed);
        }
    }

    fn reload(&self, changed: String) {
        let what = self.what;
        match (self.reload)() {
            Ok(changes) => info!("reloaded {what}: {}", changes.unwrap_or(changed)),
            Err(reason) => {
                error!(reason, "cannot reload {what}; the previous state stays in use");
            }
        }
    }
}

/// Modification time, size and inode of each file, by which changes are detected; `None` if it does
/// not exist.
type Stamps = Vec<(PathBuf, Option<(SystemTime, u64, u64)>)>;

fn stamps(files: &[PathBuf]) -> Stamps {
    files.iter().map(|file| (file.clone(), stamp(file).ok())).collect()
}

fn stamp(file: &Path) -> io::Result<(SystemTime, u64, u64)> {
    let metadata = fs::metadata(file)?;
    Ok((metadata.modified()?, metadata.len(), metadata.ino()))
}

fn changed_files(before: &Stamps, now: &Stamps) -> String {
    let changed = now.iter().filter(|file| !before.contains(file));
    let names: Vec<_> = changed.map(|(path, _)| path.display().to_string()).collect();
    if names.is_empty() {
        return "no file has changed".into();
    }
    format!("changed: {}", names.join(", "))
}
