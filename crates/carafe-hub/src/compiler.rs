//! The thread that compiles patterns.

use std::panic::{self, AssertUnwindSafe};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use tokio::sync::oneshot;
use tracing::warn;

use crate::Client;
use crate::replays::Replays;

/// Compiles patterns one after the other, for each client in turn, on a thread that gives way to
/// publishing and delivery.
///
/// A pattern may take some milliseconds. On a worker of the runtime, every other request would wait
/// for it.
pub(crate) struct Compiler {
    turns: Replays,
    /// To the thread, which starts with the first job, since most hubs have nothing to compile.
    /// `None` if it could not be started.
    jobs: OnceLock<Option<Sender<Job>>>,
}

type Job = Box<dyn FnOnce() + Send>;

impl Compiler {
    pub(crate) fn new() -> Self {
        Self { turns: Replays::new(1, 1), jobs: OnceLock::new() }
    }

    /// Compiles when it is the client's turn.
    ///
    /// # Panics
    /// When `compile` does.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        client: Option<Client>,
        compile: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let _turn = self.turns.turn(client).await;
        let (reply, answer) = oneshot::channel();
        self.push(Box::new(move || {
            // Who asked may have left: then it need not be compiled.
            if !reply.is_closed() {
                let _ = reply.send(panic::catch_unwind(AssertUnwindSafe(compile)));
            }
        }));
        match answer.await {
            Ok(Ok(compiled)) => compiled,
            Ok(Err(panicked)) => panic::resume_unwind(panicked),
            Err(_) => unreachable!("a job always replies while somebody waits for it"),
        }
    }

    fn push(&self, job: Job) {
        match self.jobs.get_or_init(start) {
            Some(jobs) => jobs.send(job).unwrap_or_else(|unsent| (unsent.0)()),
            None => job(),
        }
    }
}

fn start() -> Option<Sender<Job>> {
    let (jobs, coming) = channel();
    let thread = thread::Builder::new().name("carafe-compile".into()).spawn(move || work(&coming));
    match thread {
        Ok(_) => Some(jobs),
        Err(error) => {
            warn!(%error, "patterns are compiled without a thread of their own");
            None
        }
    }
}

/// Until the hub is gone.
fn work(coming: &Receiver<Job>) {
    carafe_log::give_way();
    coming.iter().for_each(|job| job());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn nothing_is_compiled_on_the_thread_that_asks() {
        let compiler = Compiler::new();
        let compiled_on = compiler.run(None, || thread::current().id()).await;
        assert_ne!(compiled_on, thread::current().id());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_thread_that_compiles_has_the_lowest_priority() {
        let compiler = Compiler::new();
        let stat = compiler.run(None, || std::fs::read_to_string("/proc/thread-self/stat")).await;
        let stat = stat.unwrap();
        // The nice value is field 19; the name, which may have spaces, ends with the last parenthesis.
        let after_name = stat.rsplit_once(") ").unwrap().1;
        assert_eq!(after_name.split(' ').nth(16), Some("19"), "{stat}");
    }

    #[tokio::test]
    async fn whoever_asks_for_what_panics_panics_and_the_thread_goes_on() {
        let compiler = Arc::new(Compiler::new());
        let asking = Arc::clone(&compiler);
        let panics = tokio::spawn(async move { asking.run(None, || panic!("for the test")).await });
        assert!(panics.await.is_err_and(|error| error.is_panic()));
        assert_eq!(compiler.run(None, || "next").await, "next");
    }
}
