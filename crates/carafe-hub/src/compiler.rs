//! The thread that compiles patterns.
//!
//! A pattern takes up to some milliseconds to compile. On a worker of the runtime, all other
//! requests would wait for it.

use std::panic::{self, AssertUnwindSafe};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use tokio::sync::oneshot;
use tracing::warn;

use crate::client::Client;
use crate::subscription::replay_permits::ReplayPermits;

/// Compiles patterns one at a time, in turns of the clients, on a thread whose priority is below
/// that of publishing and delivery.
pub(crate) struct Compiler {
    /// One permit, so that no client fills the queue of the thread.
    permit: ReplayPermits,
    /// The queue of the thread, which starts with the first job: most hubs compile nothing. `None`
    /// if the thread could not be started.
    jobs: OnceLock<Option<Sender<Job>>>,
}

type Job = Box<dyn FnOnce() + Send>;

impl Compiler {
    pub(crate) fn new() -> Self {
        Self { permit: ReplayPermits::new(1, 1), jobs: OnceLock::new() }
    }

    /// Runs `compile` on the thread when the client gets the permit.
    ///
    /// # Panics
    /// When `compile` does.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        client: Option<Client>,
        compile: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        // Held until the answer is here, so the channel never holds more than one job of a request
        // that is still wanted.
        let _permit = self.permit.acquire(client).await;
        let (reply, answer) = oneshot::channel();
        self.push(Box::new(move || {
            // The result of a dropped request is not needed.
            if !reply.is_closed() {
                // Unwind safety: a job that panicked leaves nothing behind but its own values, and
                // the caller panics as well. The send fails only if the request was dropped, which
                // loses nothing.
                let _ = reply.send(panic::catch_unwind(AssertUnwindSafe(compile)));
            }
        }));
        match answer.await {
            Ok(Ok(compiled)) => compiled,
            Ok(Err(panicked)) => panic::resume_unwind(panicked),
            Err(_) => unreachable!("a job always replies while its caller waits"),
        }
    }

    /// Without a thread, the job runs here.
    fn push(&self, job: Job) {
        match self.jobs.get_or_init(start) {
            // The send fails only if the thread has ended, and a job cannot end it.
            Some(jobs) => jobs.send(job).unwrap_or_else(|unsent| (unsent.0)()),
            None => job(),
        }
    }
}

fn start() -> Option<Sender<Job>> {
    let (jobs, queue) = channel();
    let thread = thread::Builder::new().name("carafe-compile".into()).spawn(move || work(&queue));
    match thread {
        Ok(_) => Some(jobs),
        Err(error) => {
            warn!(%error, "patterns are compiled without a thread of their own");
            None
        }
    }
}

/// Runs the jobs until the hub is dropped, and with it the sender of the queue.
fn work(queue: &Receiver<Job>) {
    carafe_log::give_way();
    queue.iter().for_each(|job| job());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn nothing_is_compiled_on_the_callers_thread() {
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
        // The nice value is field 19. The name may have spaces, and ends with the last parenthesis.
        let after_name = stat.rsplit_once(") ").unwrap().1;
        assert_eq!(after_name.split(' ').nth(16), Some("19"), "{stat}");
    }

    #[tokio::test]
    async fn a_panic_of_a_job_reaches_its_caller_and_the_thread_continues() {
        let compiler = Arc::new(Compiler::new());
        let asking = Arc::clone(&compiler);
        let panics = tokio::spawn(async move { asking.run(None, || panic!("for the test")).await });
        assert!(panics.await.is_err_and(|error| error.is_panic()));
        assert_eq!(compiler.run(None, || "next").await, "next");
    }
}
