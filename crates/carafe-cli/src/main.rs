//! The program `carafe`: a hub, its command line client, and a load generator.

#[cfg(not(unix))]
compile_error!("the program `carafe` needs Unix: use the library on this system");

mod check;
mod cli;
mod closing;
mod cluster;
mod config;
mod config_command;
mod demo;
mod descriptors;
mod documents;
mod ending;
mod failure;
mod healthcheck;
mod hub;
mod keys;
mod letting_in;
mod listen;
mod log_command;
mod logging;
mod outage;
mod output;
mod passed_sockets;
mod printer;
mod publish;
mod rejecting;
mod reload;
mod reloadable;
mod restart;
mod returned;
mod revoke;
mod service_manager;
mod settings;
mod source;
mod startup;
mod state_file;
mod stop_signals;
mod subscribe;
mod token;

use std::process::ExitCode;

use cli::{Cli, Command};
use closing::Closing;
use failure::Failure;
use passed_sockets::PassedSockets;
use rustix::process::Signal;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    match Cli::from_process().and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let closing = Closing::default();
    let outcome = run_until_done(cli, PassedSockets::from_environment(), closing.clone());
    // The runtime has ended, and with it all tasks that held the hub. Threads may hold it a little
    // longer.
    closing.wait();
    outcome?;
    closing.restart().map_or(Ok(()), |why| Err(restart::again(why)))
}

/// How many tasks a worker polls before it looks which sockets are ready. With tokio's 61, a client
/// waits at each step for dozens of other requests, whatever these cost.
const EVENT_INTERVAL: u32 = 8;

fn run_until_done(cli: Cli, passed: PassedSockets, closing: Closing) -> Result<(), Failure> {
    let mut runtime = Builder::new_multi_thread();
    runtime.enable_all().event_interval(EVENT_INTERVAL);
    runtime.build().map_err(Failure::failed)?.block_on(serve_until_done(cli, passed, closing))
}

async fn serve_until_done(
    cli: Cli,
    passed: PassedSockets,
    closing: Closing,
) -> Result<(), Failure> {
    // Turns a write beyond the limit on file sizes (`ulimit -f`) into an error, which the log
    // handles like a full disk. Without a handler the signal kills the process.
    let _handled = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?;
    // As a task, the accept loop runs on the worker threads: connections are not moved from the
    // main thread to others.
    tokio::spawn(command(cli, passed, closing)).await.map_err(Failure::failed)?
}

async fn command(cli: Cli, passed: PassedSockets, closing: Closing) -> Result<(), Failure> {
    match cli.command {
        Command::Dev(options) => hub::dev(*options, passed, closing).await,
        Command::Serve(options) => hub::serve(*options, passed, cli.settings, closing).await,
        Command::Publish(options) => publish::publish(options).await,
        Command::Subscribe(options) => subscribe::subscribe(options).await,
        Command::Revoke(options) => revoke::revoke(options).await,
        Command::Token(options) => token::token(&options),
        Command::Bench(options) => carafe_bench::run(&options).map_err(Failure::from),
        Command::Healthcheck(options) => healthcheck::healthcheck(&options),
        Command::Log(command) => log_command::run(&command),
        Command::Cluster(command) => cluster::run(command).await,
        Command::Config(_) => config_command::run(&cli.settings),
        Command::Completions(options) => documents::completions(&options),
        Command::Man(options) => documents::man(&options),
    }
}
