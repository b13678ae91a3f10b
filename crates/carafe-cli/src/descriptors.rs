//! The limit on file descriptors, and its shares for connections, streams and files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, warn};

/// The largest default of `--subscribers`: more streams need a decision about memory, too.
const MAX_SUBSCRIBERS: u64 = 1_000_000;

/// Descriptors for short-lived files, such as configuration and certificates.
const SHORT_LIVED: u64 = 16;

/// The number of descriptors of the process, and how they are shared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptors {
    limit: u64,
    /// Reserved for files.
    files: u64,
}

impl Descriptors {
    /// Raises the soft limit to the hard limit, for a log with this many open files.
    pub(crate) fn raise(files: u64) -> Self {
        let all = Self::of(raise(), files);
        if all.files < files {
            warn!(
                limit = all.limit,
                "the log may need {files} open files, more than the limit allows: raise the limit \
                 on open files (ulimit -n), or --segment-bytes"
            );
        }
        all
    }

    fn of(limit: u64, files: u64) -> Self {
        // With a very low limit, half is left for connections: a hub that accepts none is of no
        // use.
        Self { limit, files: (files + SHORT_LIVED).min(limit / 2) }
    }

    /// For connections. The reserve keeps the log able to open its files, without which publishing
    /// fails.
    pub(crate) fn for_connections(self) -> u64 {
        // Not below zero: `files` is at most half of the limit.
        self.limit - self.files
    }

    /// For streams: the rest of the connections is left to publishers and health checks.
    pub(crate) fn for_subscribers(self) -> usize {
        let others = (self.limit / 8).clamp(32, 1024);
        let streams = self.for_connections().saturating_sub(others).clamp(1, MAX_SUBSCRIBERS);
        usize::try_from(streams).unwrap_or(usize::MAX)
    }
}

/// Raises the soft limit to the hard limit, and returns the limit in force.
fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let number = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    // Some systems report no limit as `None` for both.
    if current == maximum {
        return number(current);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => {
            debug!(from = number(current), to = number(maximum), "raised the limit on open files");
            number(maximum)
        }
        Err(error) => {
            warn!(%error, "cannot raise the limit on open files");
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
