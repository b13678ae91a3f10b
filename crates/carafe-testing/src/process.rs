//! Programs under test as child processes, which end with the test.

use std::fmt::Debug;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

/// The time limit for anything that takes a moment on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The text that a program prints when it is ready.
pub const READY: &str = "listening on http";

/// A running program, and the lines of its output as they arrive.
pub struct Process {
    child: Child,
    pub stdout: Receiver<String>,
    pub stderr: Receiver<String>,
}

impl Process {
    pub fn start(command: &mut Command) -> Self {
        Self::of(command.stdin(Stdio::null()))
    }

    /// The same, with something open as its standard input.
    pub fn start_on(command: &mut Command, input: impl Into<Stdio>) -> Self {
        Self::of(command.stdin(input))
    }

    /// The same, with a standard input.
    pub fn start_with_input(command: &mut Command) -> (Self, ChildStdin) {
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

    /// The address in the line that the program prints when it is ready.
    pub fn listening(&self, output: &Receiver<String>) -> SocketAddr {
        let line = next_line(output, |line| line.contains(READY))
            .unwrap_or_else(|reason| panic!("{reason}"));
        address_in(&line)
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
        if signal == Signal::STOP {
            // Its threads stop a moment later. The process stays to be waited for.
            let (_, status) = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap().unwrap();
            assert!(status.stopped(), "the process has ended");
        }
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn wait(mut self) -> ExitStatus {
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

/// An address that was free a moment ago, for programs that cannot be asked to take any, or that
/// start again at the same. Its port is none of those that the system gives to connections: other
/// tests have thousands, and such a port may be taken again at once.
pub fn free_address() -> SocketAddr {
    let ports = std::iter::repeat_with(|| rand::random_range(10_000..30_000));
    let mut addresses = ports.take(1000).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    addresses.find(|address| TcpListener::bind(address).is_ok()).expect("some port is free")
}

/// An address of its own for a program that starts again at the same, with any port: nothing else
/// takes the port while the program is away.
pub fn own_address() -> SocketAddr {
    let [a, b, c]: [u8; 3] = rand::random();
    SocketAddr::from(([127, a.max(1), b, c.max(1)], 0))
}

pub fn address_in(line: &str) -> SocketAddr {
    let (_, address) = line.split_once("://").unwrap();
    // A base path may follow, and in JSON more.
    address.split(['"', '/']).next().unwrap().parse().unwrap()
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
    /// The next line of standard output that `wanted` accepts. Panics with the standard error of
    /// the program if it ends first.
    #[track_caller]
    pub fn next_line(&self, wanted: impl FnMut(&str) -> bool) -> String {
        next_line(&self.stdout, wanted).unwrap_or_else(|reason| {
            panic!("{reason}: {:?}", self.stderr.try_iter().collect::<Vec<_>>())
        })
    }

    /// The next line of standard error that `wanted` accepts.
    #[track_caller]
    pub fn next_record(&self, wanted: impl FnMut(&str) -> bool) -> String {
        next_line(&self.stderr, wanted).unwrap_or_else(|reason| panic!("{reason}"))
    }
}

/// The value of an environment variable, which changes the size of a test.
pub fn from_env<N: FromStr<Err: Debug>>(name: &str, otherwise: N) -> N {
    std::env::var(name).map_or(otherwise, |value| value.parse().unwrap())
}

/// The seed of a test's random numbers. It is printed, and `CARAFE_TEST_SEED` sets it to repeat a
/// run.
pub fn seed() -> u64 {
    let seed = std::env::var("CARAFE_TEST_SEED")
        .map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("CARAFE_TEST_SEED={seed}");
    seed
}

/// Waits until the condition holds.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
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
                return Err(format!("the line was not printed within {PATIENCE:?}"));
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err("the program ended before it printed the line".into());
            }
        }
    }
}

/// An example of the package, which `cargo test` builds beside the tests.
pub fn example(name: &str) -> Command {
    let tests = std::env::current_exe().unwrap();
    let built = tests.parent().and_then(Path::parent).unwrap();
    let program = built.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(program.exists(), "{} is missing: cargo build --examples", program.display());
    Command::new(program)
}

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}
