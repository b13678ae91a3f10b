//! How the parts are measured: the program, the rounds and the cores.

use std::path::{Path, PathBuf};

use crate::child::cores;
use crate::outcome::Outcome;
use crate::server::carafe;

/// How a part is to be measured.
pub(crate) struct Bench {
    pub(crate) carafe: PathBuf,
    pub(crate) rounds: usize,
    quick: bool,
    /// The core of the server, and that of the load.
    pub(crate) server: Option<usize>,
    pub(crate) load: Option<usize>,
}

impl Bench {
    pub(crate) fn new(program: Option<&Path>, rounds: usize, quick: bool) -> Outcome<Self> {
        let [server, load, ..] = cores()?[..] else {
            return Err("this takes two cores: one for the server, one for the load".into());
        };
        Ok(Self {
            carafe: carafe(program)?,
            rounds: if quick { 1 } else { rounds.max(1) },
            quick,
            server: Some(server),
            load: Some(load),
        })
    }

    /// So many connections, or fewer where it is to be quick.
    pub(crate) fn connections(&self, count: usize) -> usize {
        if self.quick { count / 5 } else { count }
    }

    /// So many seconds, or fewer.
    pub(crate) fn seconds(&self, seconds: u64) -> u64 {
        if self.quick { seconds.div_ceil(5) } else { seconds }
    }
}
