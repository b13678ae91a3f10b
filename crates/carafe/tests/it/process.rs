//! Programs under test as child processes, which end with the test.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::metrics::Metrics;

/// How long anything may take that takes a moment on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What a program says when it is ready.
const READY: &str = "listening on http";

const MEMORY: &[&str] = &["--log", "memory:"];

/// A `carafe` hub.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    process: Process,
}

impl Server {
    /// A hub in memory that strangers may use, with these options beside.
    pub(crate) fn start(options: &[&str]) -> Self {
        let open = ["serve", "--anonymous", "subscribe,publish"];
        Self::run(&[&open, MEMORY, options].concat())
    }

    /// A hub where strangers may do only this.
    pub(crate) fn anonymous(what: &str) -> Self {
        Self::run(&[&["serve", "--anonymous", what], MEMORY].concat())
    }

    /// A developer's hub in memory.
    pub(crate) fn dev() -> Self {
        Self::run(&[&["dev"], MEMORY].concat())
    }

    /// A hub on disk that strangers may use, with these options beside.
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
        let ready = process.next_word(|line| {
            words.push(line.into());
            line.contains(READY)
        });
        Self { address: address_in(&ready), process }
    }

    /// A hub that strangers may use, with these options beside, and where it tells its metrics.
    pub(crate) fn with_metrics(options: &[&str]) -> (Self, Metrics) {
        let hub = Self::start(&[&["--metrics-listen", "127.0.0.1:0"], options].concat());
        let metrics = Metrics::of(&hub);
        (hub, metrics)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.child.id()
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
    pub(crate) fn next_word(&self, wanted: impl FnMut(&str) -> bool) -> String {
        self.process.next_word(wanted)
    }

    pub(crate) fn process(self) -> Process {
        self.process
    }
}

/// A running program, the lines of its output as they come.
pub(crate) struct Process {
    child: Child,
    pub(crate) stdout: Receiver<String>,
    pub(crate) stderr: Receiver<String>,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::of(command.stdin(Stdio::null()))
    }

    /// The same, and where its standard input comes from.
    pub(crate) fn start_with_input(command: &mut Command) -> (Self, ChildStdin) {
        let mut process = Self::of(command.stdin(Stdio::piped()));
        let input = process.child.stdin.take().unwrap();
        (process, input)
    }

    fn of(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = lines(child.stdout.take().unwrap());
        let stderr = lines(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    /// The address in the line that says it is ready.
    pub(crate) fn listening(&self, output: &Receiver<String>) -> SocketAddr {
        let line = next_line(output, |line| line.contains(READY))
            .unwrap_or_else(|reason| panic!("{reason}"));
        address_in(&line)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn wait(mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("the program did not end within {PATIENCE:?}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn address_in(line: &str) -> SocketAddr {
    let (_, address) = line.split_once("://").unwrap();
    // In JSON, more follows.
    address.split('"').next().unwrap().parse().unwrap()
}

fn lines(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

impl Process {
    /// The next line of standard output that `wanted` accepts. If the program ends before, its last
    /// words are told.
    #[track_caller]
    pub(crate) fn next_line(&self, wanted: impl FnMut(&str) -> bool) -> String {
        next_line(&self.stdout, wanted).unwrap_or_else(|reason| {
            panic!("{reason}: {:?}", self.stderr.try_iter().collect::<Vec<_>>())
        })
    }

    /// The next line of standard error that `wanted` accepts.
    #[track_caller]
    pub(crate) fn next_word(&self, wanted: impl FnMut(&str) -> bool) -> String {
        next_line(&self.stderr, wanted).unwrap_or_else(|reason| panic!("{reason}"))
    }
}

/// What a test's random numbers come from. It is printed; `CARAFE_TEST_SEED` repeats a run's.
pub(crate) fn seed() -> u64 {
    let seed = std::env::var("CARAFE_TEST_SEED")
        .map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("CARAFE_TEST_SEED={seed}");
    seed
}

/// Waits until it is so.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The next line that `wanted` accepts.
fn next_line(
    lines: &Receiver<String>,
    mut wanted: impl FnMut(&str) -> bool,
) -> Result<String, String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) if wanted(&line) => return Ok(line),
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => {
                return Err(format!("the line did not come within {PATIENCE:?}"));
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err("the program ended before the line came".into());
            }
        }
    }
}

pub(crate) fn carafe() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_carafe"));
    // What the person who runs the tests has set is none of theirs.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARAFE_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command
}

/// An example of the package, which `cargo test` builds beside the tests.
pub(crate) fn example(name: &str) -> Command {
    let tests = std::env::current_exe().unwrap();
    let built = tests.parent().and_then(Path::parent).unwrap();
    let program = built.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(program.exists(), "{} is missing: cargo build --examples", program.display());
    Command::new(program)
}

/// A file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}
