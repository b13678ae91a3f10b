//! The limit on open files, each connection being one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::failure::Failure;

/// What is open beside connections.
const OTHERS: u64 = 32;

/// Raises the limit so that so many connections fit.
pub(crate) fn allow(connections: usize) -> Result<(), Failure> {
    let needed = connections as u64 + OTHERS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let raised = Rlimit { current: Some(needed), maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).map_err(|_| {
        let most = limit.maximum.unwrap_or(needed).saturating_sub(OTHERS);
        Failure::usage(format!(
            "this process may have {most} connections at most: raise the hard limit on open files (ulimit -Hn), \
             or start several"
        ))
    })
}
