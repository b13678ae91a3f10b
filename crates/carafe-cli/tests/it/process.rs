//! Hubs under test as child processes, which end with the test.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitStatus};

pub(crate) use carafe_testing::process::{
    PATIENCE, Process, eventually, free_address, from_env, own_address, repository, seed,
};
use carafe_testing::process::{READY, address_in};
use rustix::process::Signal;

use crate::metrics::Metrics;

const MEMORY: &[&str] = &["--log", "memory:"];

/// A `carafe` hub.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    process: Process,
}

impl Server {
    /// A hub in memory that clients without a token may use, with these options beside.
    pub(crate) fn start(options: &[&str]) -> Self {
        let open = ["serve", "--anonymous", "subscribe,publish"];
        Self::run(&[&open, MEMORY, options].concat())
    }

    /// A hub where clients without a token may do only this.
    pub(crate) fn anonymous(what: &str) -> Self {
        Self::run(&[&["serve", "--anonymous", what], MEMORY].concat())
    }

    /// A developer's hub in memory.
    pub(crate) fn dev() -> Self {
        Self::run(&[&["dev"], MEMORY].concat())
    }

    /// A hub on disk that clients without a token may use, with these options beside.
    pub(crate) fn on_disk(log: &Path, options: &[&str]) -> Self {
        let log = format!("disk:{}", log.display());
        let open = ["serve", "--anonymous", "subscribe,publish", "--log", &log];
        Self::run(&[&open, options].concat())
    }

    /// A developer's hub on disk.
    pub(crate) fn dev_on_disk(log: &Path) -> Self {
        Self::run(&["dev", "--log", &format!("disk:{}", log.display())])
    }

    /// The same at this address.
    pub(crate) fn on_disk_at(address: SocketAddr, log: &Path, options: &[&str]) -> Self {
        Self::on_disk(log, &[options, &["--listen", &address.to_string()]].concat())
    }

    fn run(arguments: &[&str]) -> Self {
        let mut command = carafe();
        command.args(arguments);
        if !arguments.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        Self::of(Process::start(&mut command))
    }

    /// A hub that was started in another way.
    pub(crate) fn of(process: Process) -> Self {
        let address = process.listening(&process.stderr);
        Self { address, process }
    }

    /// The same, and what it says before it is ready.
    pub(crate) fn of_hearing(process: Process, words: &mut Vec<String>) -> Self {
        let ready = process.next_record(|line| {
            words.push(line.into());
            line.contains(READY)
        });
        Self { address: address_in(&ready), process }
    }

    /// A hub that clients without a token may use, with these further options, and its metrics.
    pub(crate) fn with_metrics(options: &[&str]) -> (Self, Metrics) {
        let hub = Self::start(&[&["--metrics-listen", "127.0.0.1:0"], options].concat());
        let metrics = Metrics::of(&hub);
        (hub, metrics)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// A figure of its memory in bytes, such as `VmRSS`, what it takes now, or `VmHWM`, the most
    /// that it has taken.
    #[track_caller]
    pub(crate) fn memory(&self, figure: &str) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line =
            status.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':')).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap().count()
    }

    /// Asks for the orderly end, as a service manager does.
    pub(crate) fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }

    pub(crate) fn wait(self) -> ExitStatus {
        self.process.wait()
    }

    /// Ends the process at once, as a crash does.
    pub(crate) fn kill(self) {
        self.process.signal(Signal::KILL);
        self.process.wait();
    }

    /// Asks to read again what can be.
    pub(crate) fn hang_up(&self) {
        self.process.signal(Signal::HUP);
    }

    /// The next line of its log that `wanted` accepts.
    #[track_caller]
    pub(crate) fn next_record(&self, wanted: impl FnMut(&str) -> bool) -> String {
        self.process.next_record(wanted)
    }

    pub(crate) fn process(self) -> Process {
        self.process
    }
}

pub(crate) fn carafe() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_carafe"));
    // Settings of the person who runs the tests must not change the program under test.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARAFE_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command
}
