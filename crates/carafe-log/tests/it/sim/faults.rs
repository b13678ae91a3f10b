//! Which calls of the simulated disk fail, and how.

use std::io;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

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
    /// A write stores this many bytes first, at most all but one.
    Short(usize, Errno),
    /// The thread that calls panics.
    Panic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errno {
    Io,
    NoSpace,
    TooManyFiles,
    FileTooLarge,
}

impl Fault {
    /// Called without the disk's lock.
    pub(super) fn error(self) -> io::Error {
        let errno = match self {
            Self::Error(errno) | Self::Short(_, errno) => errno,
            Self::Panic => panic!("the disk panics"),
        };
        io::Error::from_raw_os_error(match errno {
            Errno::Io => 5,
            Errno::NoSpace => 28,
            Errno::TooManyFiles => 24,
            Errno::FileTooLarge => 27,
        })
    }
}

/// The faults that a test has asked for.
#[derive(Default)]
pub(super) struct Faults {
    plans: Vec<Plan>,
    random: Option<Random>,
}

/// Every call fails now and then.
struct Random {
    source: StdRng,
    /// The odds of a failing call: one in this number.
    one_in: u32,
    /// The odds of a failing read: one in this number. Publishing reads only to look up keys.
    reads: u32,
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

    pub(super) fn fail_at_random(&mut self, seed: u64, one_in: u32, reads: u32) {
        self.random = Some(Random { source: StdRng::seed_from_u64(seed), one_in, reads });
    }

    pub(super) fn stop(&mut self) {
        *self = Self::default();
    }

    /// What happens to a call that is made now.
    pub(super) fn next(&mut self, call: Call) -> Option<Fault> {
        self.planned(call).or_else(|| self.random.as_mut()?.next(call))
    }

    fn planned(&mut self, call: Call) -> Option<Fault> {
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

impl Random {
    fn next(&mut self, call: Call) -> Option<Fault> {
        let one_in = if call == Call::Read { self.reads } else { self.one_in };
        if !self.source.random_ratio(1, one_in) {
            return None;
        }
        let errnos = call.errnos();
        let errno = errnos[self.source.random_range(0..errnos.len())];
        Some(match call {
            Call::Write => Fault::Short(self.source.random_range(0..300), errno),
            _ => Fault::Error(errno),
        })
    }
}

impl Call {
    /// The errors of the operating system. Those that a log survives without being opened again are
    /// more frequent.
    fn errnos(self) -> &'static [Errno] {
        use Errno::{FileTooLarge, Io, NoSpace, TooManyFiles};
        match self {
            Self::List | Self::Size | Self::Read => &[Io],
            Self::Open => &[Io, TooManyFiles],
            Self::Create => &[NoSpace, NoSpace, TooManyFiles, Io],
            Self::Write => &[NoSpace, NoSpace, NoSpace, NoSpace, FileTooLarge, Io],
            Self::Allocate => &[NoSpace, NoSpace, NoSpace, FileTooLarge, Io],
            Self::Truncate | Self::Rename | Self::Remove => &[NoSpace, NoSpace, NoSpace, Io],
            Self::SyncNames | Self::SyncFile => &[NoSpace, Io],
        }
    }
}
