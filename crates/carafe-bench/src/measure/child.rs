//! Programs that run beside a measurement, and end with it.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::outcome::Outcome;

/// How long a program may take to get ready.
const READY: Duration = Duration::from_secs(30);

/// What a server says when it is ready, before its URL.
const LISTENING: &str = "listening on ";

/// A program that is killed when this is dropped; should this process be killed itself, the kernel
/// does that.
pub(crate) struct Program {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    stdin: Option<ChildStdin>,
}

impl Program {
    /// Starts it on one core, or wherever the machine likes.
    pub(crate) fn start(command: &Command, core: Option<usize>) -> Outcome<Self> {
        let mut guarded = Command::new("setpriv");
        guarded
            .args(["--pdeathsig", "KILL", "--"])
            .arg(command.get_program())
            .args(command.get_args());
        guarded.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        guarded.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = on_core(core, || Ok(guarded.spawn()?))?;
        let stdout = lines(child.stdout.take().ok_or("no standard output")?);
        let stderr = lines(child.stderr.take().ok_or("no standard error")?);
        let stdin = child.stdin.take();
        Ok(Self { child, stdout, stderr, stdin })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stdin(&mut self) -> Outcome<&mut ChildStdin> {
        Ok(self.stdin.as_mut().ok_or("its standard input is closed")?)
    }

    /// The next line of its output; with its last words, if it has ended.
    pub(crate) fn next_line(&self, patience: Duration) -> Outcome<String> {
        self.stdout
            .recv_timeout(patience)
            .map_err(|_| format!("no line was printed: {}", self.last_words()).into())
    }

    /// The scheme and the address that it says it listens on.
    pub(crate) fn listening(&self) -> Outcome<(&'static str, SocketAddr)> {
        let line = self.wait_for_words(LISTENING)?;
        let (_, url) = line.split_once(LISTENING).ok_or("it does not say where it listens")?;
        match url.split_once("://") {
            Some(("http", address)) => Ok(("http", address.parse()?)),
            Some(("https", address)) => Ok(("https", address.parse()?)),
            _ => Err(format!("it listens on {url}, which is not understood").into()),
        }
    }

    pub(crate) fn last_words(&self) -> String {
        self.stderr.try_iter().collect::<Vec<_>>().join(" / ")
    }

    /// The next line of its other output that has `words`.
    pub(crate) fn wait_for_words(&self, words: &str) -> Outcome<String> {
        let deadline = Instant::now() + READY;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line =
                self.stderr.recv_timeout(left).map_err(|_| format!("it does not say {words:?}"))?;
            if line.contains(words) {
                return Ok(line);
            }
        }
    }

    /// Interrupts it, as the keyboard does, and waits until it has ended.
    pub(crate) fn interrupt(mut self) -> Outcome {
        kill_process(Pid::from_child(&self.child), Signal::INT)?;
        self.child.wait()?;
        Ok(())
    }

    /// Ends its standard input, and waits until it has ended by itself.
    pub(crate) fn finish(mut self) -> Outcome {
        self.stdin = None;
        let ended = self.child.wait()?;
        if ended.success() { Ok(()) } else { Err(format!("{ended}: {}", self.last_words()).into()) }
    }

    /// Begins to end it. With very many sockets that takes a while, which others can use.
    pub(crate) fn begin_to_kill(&mut self) -> Outcome {
        Ok(self.child.kill()?)
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(mut self) -> Outcome {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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

/// The cores that this process may use.
pub(crate) fn cores() -> Outcome<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
}

/// What is started meanwhile stays on that core, from its first instruction on.
fn on_core<T>(core: Option<usize>, start: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    let Some(core) = core else { return start() };
    let all = sched_getaffinity(None)?;
    let mut one = CpuSet::new();
    one.set(core);
    sched_setaffinity(None, &one)?;
    let started = start();
    sched_setaffinity(None, &all)?;
    started
}

/// Lets all programs have as many connections as may be.
pub(crate) fn raise_descriptor_limit() -> Outcome<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(limit.maximum.unwrap_or(1 << 20))
}
