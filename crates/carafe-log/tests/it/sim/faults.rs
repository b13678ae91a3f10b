//! Which calls of the simulated disk fail, and how.

use std::io;

/// A call that may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    List,
    Create,
    Open,
    Rename,
    Remove,
    SyncNames,
    Size,
    Read,
    Write,
    Allocate,
    Truncate,
    SyncFile,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// With this error, and without an effect.
    Error(Errno),
    /// A write stores this many bytes first.
    Short(usize, Errno),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errno {
    Io,
    NoSpace,
}

impl Fault {
    pub(super) fn error(self) -> io::Error {
        let (Self::Error(errno) | Self::Short(_, errno)) = self;
        io::Error::from_raw_os_error(match errno {
            Errno::Io => 5,
            Errno::NoSpace => 28,
        })
    }
}

/// The faults that a test has asked for.
#[derive(Default)]
pub(super) struct Faults {
    plans: Vec<Plan>,
}

struct Plan {
    call: Call,
    fault: Fault,
    /// Calls that succeed before.
    succeed: usize,
    once: bool,
}

impl Faults {
    pub(super) fn fail_all(&mut self, call: Call, fault: Fault) {
        self.plans.push(Plan { call, fault, succeed: 0, once: false });
    }

    pub(super) fn fail_once(&mut self, call: Call, succeed: usize, fault: Fault) {
        self.plans.push(Plan { call, fault, succeed, once: true });
    }

    /// What happens to a call that is made now.
    pub(super) fn next(&mut self, call: Call) -> Option<Fault> {
        let at = self.plans.iter().position(|plan| plan.call == call)?;
        let plan = &mut self.plans[at];
        if plan.succeed > 0 {
            plan.succeed -= 1;
            return None;
        }
        let fault = plan.fault;
        if plan.once {
            self.plans.remove(at);
        }
        Some(fault)
    }
}
