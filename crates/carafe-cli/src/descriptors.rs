//! File descriptors, of which each connection needs one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

/// More streams than this need more than descriptors: who has thought about it says so by
/// `--subscribers`.
const MOST_SUBSCRIBERS: u64 = 1_000_000;

/// Files that are open for a moment only.
const FILES: u64 = 16;

/// How many descriptors the process may have, and who may have them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptors {
    limit: u64,
    /// Those that are kept for files.
    files: u64,
}

impl Descriptors {
    /// Takes as many as the process can get without asking anybody, for a log that has so many
    /// files open.
    pub(crate) fn raise(files: u64) -> Self {
        let all = Self::of(raise(), files);
        if all.files < files {
            warn!(
                limit = all.limit,
                "history may come to {files} files, and so many cannot be open: raise the limit of \
                 open files, \
                 or give --segment-bytes a higher value"
            );
        }
        all
    }

    fn of(limit: u64, files: u64) -> Self {
        Self { limit, files: (files + FILES).min(limit / 2) }
    }

    /// Those that connections may have. Publishers are refused when the log cannot open its files.
    pub(crate) fn for_connections(self) -> u64 {
        self.limit - self.files
    }

    /// How many of these may be streams, so that there are some for publishers and for who asks how
    /// the hub is.
    pub(crate) fn for_subscribers(self) -> usize {
        let others = (self.limit / 8).clamp(32, 1024);
        let streams = self.for_connections().saturating_sub(others).clamp(1, MOST_SUBSCRIBERS);
        usize::try_from(streams).unwrap_or(usize::MAX)
    }
}

/// The limit after it was raised as far as it goes.
fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let number = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    if current == maximum {
        return number(current);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => {
            info!(from = number(current), to = number(maximum), "raised the limit of open files");
            number(maximum)
        }
        Err(error) => {
            warn!(%error, "cannot raise the limit of open files");
            number(current)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_leave_descriptors_for_others_and_all_connections_leave_some_for_files() {
        for (limit, files, connections, subscribers) in [
            (10, 0, 5, 1),
            (100, 0, 84, 52),
            (1024, 260, 748, 620),
            (1024, 100_000, 512, 384),
            (20_000, 260, 19_724, 18_700),
            (u64::MAX, 84, u64::MAX - 100, 1_000_000),
        ] {
            let all = Descriptors::of(limit, files);
            let shares = (all.for_connections(), all.for_subscribers());
            assert_eq!(shares, (connections, subscribers), "{limit} {files}");
        }
    }
}
