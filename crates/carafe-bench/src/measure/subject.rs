//! The servers that are measured.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, io, thread};

use clap::ValueEnum;

use crate::child::Program;
use crate::floor::Writes;
use crate::outcome::Outcome;
use crate::usage::{self, Memory};

/// How long nginx may take, which does not say when it is ready.
const READY: Duration = Duration::from_secs(10);

/// The program that is measured, which measures too: the one that was named, else the one that was
/// built beside this.
pub(crate) fn carafe(named: Option<&Path>) -> Outcome<PathBuf> {
    Ok(named.map_or_else(
        || Ok(env::current_exe()?.with_file_name("carafe")),
        |named| io::Result::Ok(named.into()),
    )?)
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Floor(Writes),
    Carafe,
    Nchan,
    Axum,
    Express,
    BetterSse,
}

impl Subject {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor(Writes::Each) => "floor, one write each",
            Self::Floor(Writes::Coalesced) => "floor, coalescing",
            Self::Carafe => "Carafe",
            Self::Nchan => "nginx with nchan",
            Self::Axum => "axum Sse + broadcast",
            Self::Express => "Express",
            Self::BetterSse => "better-sse",
        }
    }

    pub(crate) fn start(self, carafe: &Path, core: Option<usize>) -> Outcome<Server> {
        let server = match self {
            Self::Floor(writes) => {
                let value = writes.to_possible_value().ok_or("the floor has no such writes")?;
                Server::start(this_program()?.args(["floor", value.get_name()]), core)
            }
            Self::Carafe => Server::carafe(carafe, &["--log", "memory:"], core),
            Self::Axum => Server::start(this_program()?.arg("axum-peer"), core),
            Self::Express => {
                Server::start(Command::new("node").arg("bench/peers/express/server.mjs"), core)
            }
            Self::BetterSse => {
                Server::start(Command::new("node").arg("bench/peers/better-sse/server.mjs"), core)
            }
            Self::Nchan => nchan(core),
        };
        server.map_err(|error| format!("{}: {error}", self.name()).into())
    }
}

fn this_program() -> Outcome<Command> {
    Ok(Command::new(env::current_exe()?))
}

/// A server that listens.
pub(crate) struct Server {
    program: Program,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) fn start(command: &Command, core: Option<usize>) -> Outcome<Self> {
        let program = Program::start(command, core)?;
        let address = program.listening()?;
        Ok(Self { program, address })
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

    /// nginx, with the configuration in this folder, which listens on this port.
    pub(crate) fn nginx(folder: &Path, port: u16) -> Outcome<Self> {
        let mut command = Command::new(first_of(NGINX)?);
        command.args(["-e", "stderr", "-c", "nginx.conf", "-p"]).arg(folder);
        let program = Program::start(&command, None)?;
        let address = (Ipv4Addr::LOCALHOST, port).into();
        wait_until_it_listens(&program, address)?;
        Ok(Self { program, address })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
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

const NGINX: [&str; 2] = ["target/proxies/usr/sbin/nginx", "/usr/sbin/nginx"];
const MODULE: [&str; 2] = [
    "target/proxies/usr/lib/nginx/modules/ngx_nchan_module.so",
    "/usr/lib/nginx/modules/ngx_nchan_module.so",
];

/// With nchan, Debian's nginx insists on its folder in /var/lib, whatever its configuration: it
/// gets one that only it sees.
const WITH_A_FOLDER: &str = "mount -t tmpfs tmpfs /var/lib && mkdir /var/lib/nginx && \
    exec setpriv --pdeathsig KILL -- \"$@\"";

fn nchan(core: Option<usize>) -> Outcome<Server> {
    let (nginx, module) = (first_of(NGINX)?, first_of(MODULE)?);
    let folder = env::current_dir()?.join("target/peers/nchan");
    fs::create_dir_all(&folder)?;
    fs::copy(module, folder.join("ngx_nchan_module.so"))?;
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let template = fs::read_to_string("bench/peers/nchan/nginx.conf")?;
    let config = template
        .replace("FOLDER", &folder.display().to_string())
        .replace("PORT", &port.to_string());
    fs::write(folder.join("nginx.conf"), config)?;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-c", WITH_A_FOLDER, "sh"]).arg(nginx);
    command.arg("-p").arg(&folder).arg("-c").arg(folder.join("nginx.conf"));
    let program = Program::start(&command, core)?;
    let address = (Ipv4Addr::LOCALHOST, port).into();
    wait_until_it_listens(&program, address)?;
    Ok(Server { program, address })
}

fn first_of(paths: [&str; 2]) -> Outcome<PathBuf> {
    let found = paths.iter().map(PathBuf::from).find(|path| path.exists());
    found.ok_or_else(|| {
        format!("{} is missing: cargo xtask bench fanout brings it", paths[0]).into()
    })
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
