//! A server that is measured, in a process of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, io, thread};

use crate::certificate::Certificate;
use crate::child::Program;
use crate::outcome::Outcome;
use crate::usage::{self, Memory};

/// How long servers may take that do not say when they are ready.
const READY: Duration = Duration::from_secs(10);

/// The program that is measured, which measures too: the one that was named, else the one that was
/// built beside this.
pub(crate) fn carafe(named: Option<&Path>) -> Outcome<PathBuf> {
    Ok(named.map_or_else(
        || Ok(env::current_exe()?.with_file_name("carafe")),
        |named| io::Result::Ok(named.into()),
    )?)
}

/// A server that listens.
pub(crate) struct Server {
    program: Program,
    pub(crate) address: SocketAddr,
    scheme: &'static str,
}

impl Server {
    /// Starts a program that says where it listens.
    pub(crate) fn start(command: &Command, core: Option<usize>) -> Outcome<Self> {
        let program = Program::start(command, core)?;
        let (scheme, address) = program.listening()?;
        Ok(Self { program, address, scheme })
    }

    /// Starts a program that listens on this port, and waits until it does.
    pub(crate) fn start_at(
        command: &Command,
        core: Option<usize>,
        port: u16,
        scheme: &'static str,
    ) -> Outcome<Self> {
        let program = Program::start(command, core)?;
        let address = (Ipv4Addr::LOCALHOST, port).into();
        wait_until_it_listens(&program, address)?;
        Ok(Self { program, address, scheme })
    }

    /// A hub that is open to all, at a free port unless the options say where.
    pub(crate) fn carafe(carafe: &Path, options: &[&str], core: Option<usize>) -> Outcome<Self> {
        let mut command = Command::new(carafe);
        command.args(["serve", "--anonymous", "subscribe,publish"]).args(options);
        if !options.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        Self::start(&command, core)
    }

    /// What answers each connection with so many bytes.
    pub(crate) fn bare_loop(bytes: usize) -> Outcome<Self> {
        Self::start(this_program()?.args(["bare-loop", &bytes.to_string()]), None)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    pub(crate) fn id(&self) -> u32 {
        self.program.id()
    }

    /// Seconds of processor time so far.
    pub(crate) fn processor(&self) -> Outcome<f64> {
        Ok(usage::processor(self.program.id())? as f64 / 1e9)
    }

    pub(crate) fn memory(&self) -> Outcome<Memory> {
        Memory::of(self.program.id())
    }

    pub(crate) fn peak(&self) -> Outcome<u64> {
        usage::peak(self.program.id())
    }

    pub(crate) fn begin_to_kill(&mut self) -> Outcome {
        self.program.begin_to_kill()
    }

    pub(crate) fn kill(self) -> Outcome {
        self.program.kill()
    }
}

/// How a server is run.
#[derive(Clone, Copy)]
pub(crate) struct Setup<'a> {
    pub(crate) carafe: &'a Path,
    pub(crate) core: Option<usize>,
    /// The folder of a log that is on the disk before an event is acknowledged.
    pub(crate) log: Option<&'a Path>,
    pub(crate) tls: Option<&'a Certificate>,
}

impl Setup<'_> {
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

pub(crate) fn this_program() -> Outcome<Command> {
    Ok(Command::new(env::current_exe()?))
}

pub(crate) fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn wait_until_it_listens(program: &Program, address: SocketAddr) -> Outcome {
    let deadline = Instant::now() + READY;
    while TcpStream::connect(address).is_err() {
        if Instant::now() > deadline {
            return Err(format!("it does not listen: {}", program.last_words()).into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
