//! What is read again while the hub runs: on SIGHUP, and when its files change.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::{error, info};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

type Reload = Box<dyn Fn() -> Result<(), String> + Send>;

/// All that can be read again.
#[derive(Default)]
pub(crate) struct Reloads(Vec<Reloadable>);

impl Reloads {
    /// Adds what `reload` reads, which so far is what stands in `files`. When it fails, what was
    /// there stays in use.
    pub(crate) fn add(
        &mut self,
        what: &'static str,
        files: impl IntoIterator<Item = impl Into<PathBuf>>,
        reload: impl Fn() -> Result<(), String> + Send + 'static,
    ) {
        let files: Vec<_> = files.into_iter().map(Into::into).collect();
        self.add_changing(what, move || files.clone(), reload);
    }

    /// The same, where the files may name others. After new names it is read once more, so that no
    /// change is missed.
    pub(crate) fn add_changing(
        &mut self,
        what: &'static str,
        files: impl Fn() -> Vec<PathBuf> + Send + 'static,
        reload: impl Fn() -> Result<(), String> + Send + 'static,
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

    /// Takes SIGHUP from now on, and looks after the files.
    pub(crate) fn start(self) -> io::Result<()> {
        let hangup = signal(SignalKind::hangup())?;
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::spawn(self.run(hangup, look));
        Ok(())
    }

    async fn run(mut self, mut hangup: Signal, mut look: Interval) {
        loop {
            let told = tokio::select! {
                Some(()) = hangup.recv() => true,
                _ = look.tick(), if !self.0.is_empty() => false,
            };
            // Files may be on a slow disk.
            let turn = spawn_blocking(move || {
                self.0.iter_mut().for_each(|reloadable| reloadable.turn(told));
                self
            });
            let Ok(after) = turn.await else { return error!("nothing is reloaded any more") };
            self = after;
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
    /// Reads it again if `told` to, or if the files have changed and come to rest: a certificate
    /// and its key are seldom written in one moment.
    fn turn(&mut self, told: bool) {
        let now = stamps(&(self.files)());
        let rests = now == self.seen;
        self.seen.clone_from(&now);
        if told || (rests && now != self.loaded) {
            self.loaded = now;
            self.reload();
        }
    }

    fn reload(&self) {
        let what = self.what;
        match (self.reload)() {
            Ok(()) => info!("reloaded {what}"),
            Err(reason) => {
                error!(reason, "cannot reload {what}; what was there before stays in use");
            }
        }
    }
}

/// By what a file is seen to have changed; nothing when it is not there.
type Stamps = Vec<Option<(SystemTime, u64, u64)>>;

fn stamps(files: &[PathBuf]) -> Stamps {
    files.iter().map(|file| stamp(file).ok()).collect()
}

fn stamp(file: &Path) -> io::Result<(SystemTime, u64, u64)> {
    let metadata = fs::metadata(file)?;
    Ok((metadata.modified()?, metadata.len(), metadata.ino()))
}
