//! The limit on file descriptors; each connection takes one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::Error;

/// Descriptors that are not connections: standard streams, the poll, the waker, the publisher.
const RESERVED: u64 = 16;

/// Raises the soft limit to the hard limit, and fails if that is too low.
pub(crate) fn raise_limit_for(connections: usize) -> Result<(), Error> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let limit = if raised.is_ok() { maximum } else { current };
    let most = limit.unwrap_or(u64::MAX).saturating_sub(RESERVED);
    if connections as u64 <= most {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "this process may have at most {most} connections: raise the hard limit on open files \
         (ulimit -Hn), or start several processes"
    )))
}
