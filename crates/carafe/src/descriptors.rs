//! File descriptors, of which each connection needs one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

/// More streams than this need more than descriptors: who has thought about it says so by `--subscribers`.
const MOST_SUBSCRIBERS: u64 = 1_000_000;

/// How many descriptors the process may have, and who may have them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptors {
    limit: u64,
}

impl Descriptors {
    /// Takes as many as the process can get without asking anybody.
    pub(crate) fn raise() -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        if current == maximum {
            return Self::of(current);
        }
        match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
            Ok(()) => {
                let number = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
                info!(from = number(current), to = number(maximum), "raised the limit of open files");
                Self::of(maximum)
            }
            Err(error) => {
                warn!(%error, "cannot raise the limit of open files");
                Self::of(current)
            }
        }
    }

    fn of(limit: Option<u64>) -> Self {
        Self { limit: limit.unwrap_or(u64::MAX) }
    }

    /// Those that connections may have. The log must always be able to open its files: a log that cannot fails for good.
    pub(crate) fn for_connections(self) -> u64 {
        self.limit.saturating_sub((self.limit / 8).clamp(16, 256))
    }

    /// How many of these may be streams, so that there are some for publishers and for who asks how the hub is.
    pub(crate) fn for_subscribers(self) -> usize {
        let others = (self.limit / 8).clamp(32, 1024);
        let streams = self.for_connections().saturating_sub(others).clamp(1, MOST_SUBSCRIBERS);
        usize::try_from(streams).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_leave_descriptors_for_others_and_all_connections_leave_some_for_files() {
        for (limit, connections, subscribers) in [
            (10, 0, 1),
            (100, 84, 52),
            (1024, 896, 768),
            (20_000, 19_744, 18_720),
            (u64::MAX, u64::MAX - 256, 1_000_000),
        ] {
            let all = Descriptors { limit };
            assert_eq!((all.for_connections(), all.for_subscribers()), (connections, subscribers), "{limit}");
        }
    }
}
