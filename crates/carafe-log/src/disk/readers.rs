//! The threads that read history: a bounded number, so that many who resume do not crowd out the writer.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use futures_channel::oneshot;

use crate::{BoxFuture, ReadError};

type Job = Box<dyn FnOnce() + Send>;

/// Runs what blocks on the disk.
pub(crate) struct Readers {
    // Dropping it ends the threads.
    jobs: Sender<Job>,
}

impl Readers {
    pub(crate) fn start(count: usize) -> std::io::Result<Self> {
        let (jobs, waiting) = channel();
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..count.max(1) {
            let waiting = Arc::clone(&waiting);
            thread::Builder::new().name("carafe-log-read".into()).spawn(move || work(&waiting))?;
        }
        Ok(Self { jobs })
    }

    pub(crate) fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, ReadError>> {
        let (reply, answer) = oneshot::channel();
        // Who asked may have left.
        let job = move || drop(reply.send(job()));
        let started = self.jobs.send(Box::new(job));
        Box::pin(async move {
            let gone = || ReadError::Disk("the threads that read it are gone".into());
            started.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())?
        })
    }
}

fn work(waiting: &Mutex<Receiver<Job>>) {
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        job();
    }
}
