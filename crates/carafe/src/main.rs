//! The `carafe` program.

mod bench;
mod cli;
mod config;
mod descriptors;
mod failure;
mod hub;
mod keys;
mod limits;
mod log;
mod logging;
mod output;
mod publish;
mod reload;
mod returned;
mod subscribe;
mod token;

use std::process::ExitCode;

use cli::{Cli, Command};
use failure::Failure;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    match Cli::from_process().and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

#[tokio::main]
async fn run(cli: Cli) -> Result<(), Failure> {
    // With a handler, a write beyond the limit on file sizes (`ulimit -f`) is an error like a full disk. Without one, the
    // signal ends the process.
    let _handled = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?;
    // As a task, it runs where the others do: connections are not handed from one thread to another.
    tokio::spawn(command(cli)).await.map_err(Failure::failed)?
}

async fn command(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Dev(options) => hub::dev(*options).await,
        Command::Serve(options) => hub::serve(*options).await,
        Command::Publish(options) => publish::publish(options).await,
        Command::Subscribe(options) => subscribe::subscribe(options).await,
        Command::Token(options) => token::token(&options),
        Command::Bench(options) => bench::bench(&options),
        Command::Log(command) => log::run(&command),
    }
}
