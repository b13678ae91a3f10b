//! The threads that read history: a bounded number, so that many who resume do not crowd out the
//! writer.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use futures_channel::oneshot;

use crate::panics::caught;
use crate::{BoxFuture, ReadError};

/// The nice value of the threads, the lowest priority. The scheduler gives every thread whole slices
/// of some milliseconds, and one with a higher value only fewer of them: at 10, five threads had
/// theirs one after the other, and a publisher waited for 20 ms.
#[cfg(target_os = "linux")]
const NICE: i32 = 19;

/// A turn of some reading. It says whether that was the last.
pub(crate) type Turn = Box<dyn FnMut() -> bool + Send>;

/// Runs what takes long or waits for a disk, in turns of some milliseconds each: what needs several
/// goes to the end of the queue after each, so that nobody waits for all of another's work.
pub(crate) struct Readers {
    queue: Arc<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Default)]
struct Waiting {
    turns: VecDeque<Turn>,
    closed: bool,
}

impl Readers {
    /// Threads that give way to publishing and answers, where all processors are in use.
    pub(crate) fn start(count: usize) -> std::io::Result<Self> {
        Self::start_after(count, give_way)
    }

    /// A thread for what publishers wait for.
    pub(crate) fn start_for_publishers() -> std::io::Result<Self> {
        Self::start_after(1, || {})
    }

    fn start_after(count: usize, prepare: fn()) -> std::io::Result<Self> {
        let readers = Self { queue: Arc::default() };
        for _ in 0..count.max(1) {
            let queue = Arc::clone(&readers.queue);
            thread::Builder::new().name("carafe-log-read".into()).spawn(move || {
                prepare();
                queue.work();
            })?;
        }
        Ok(readers)
    }

    /// Has turns run until the last.
    pub(crate) fn push(&self, turn: Turn) {
        self.queue.push(turn);
    }

    /// Reads turn by turn, until there is an answer. A panic is answered by an error, and the
    /// thread goes on.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        mut read: impl FnMut() -> Result<Option<T>, ReadError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, ReadError>> {
        let (reply, answer) = oneshot::channel();
        let mut reply = Some(reply);
        self.queue.push(Box::new(move || {
            // Who asked may have left: then the rest is not done.
            if reply.as_ref().is_none_or(oneshot::Sender::is_canceled) {
                return true;
            }
            if let Some(answer) = read_or_fail(&mut read).transpose()
                && let Some(reply) = reply.take()
            {
                drop(reply.send(answer));
            }
            reply.is_none()
        }));
        Box::pin(async move {
            answer.await.map_err(|_| ReadError::Disk("the threads that read it are gone".into()))?
        })
    }
}

/// Reads, and makes a panic an error. What panicked is not run again.
pub(crate) fn read_or_fail<T>(read: impl FnOnce() -> Result<T, ReadError>) -> Result<T, ReadError> {
    caught(read).unwrap_or_else(|panic| {
        tracing::error!(panic, "reading the log has panicked");
        Err(ReadError::Disk(format!("reading it has panicked: {panic}").into()))
    })
}

/// Lowers the priority of this thread, so that it gives way to publishing and delivery where all
/// processors are in use. Only Linux has a priority for each thread: elsewhere nothing changes.
pub fn give_way() {
    // Elsewhere this would be the priority of the whole process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "a thread that should give way keeps its usual priority");
    }
}

impl Drop for Readers {
    /// Ends the threads. What waits is given up.
    fn drop(&mut self) {
        let mut waiting = self.queue.waiting();
        waiting.closed = true;
        let given_up = std::mem::take(&mut waiting.turns);
        drop(waiting);
        drop(given_up);
        self.queue.arrived.notify_all();
    }
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, turn: Turn) {
        let mut waiting = self.waiting();
        if !waiting.closed {
            waiting.turns.push_back(turn);
            self.arrived.notify_one();
        }
    }

    fn take(&self) -> Option<Turn> {
        let nothing = |waiting: &mut Waiting| waiting.turns.is_empty() && !waiting.closed;
        let waiting = self.arrived.wait_while(self.waiting(), nothing);
        waiting.unwrap_or_else(PoisonError::into_inner).turns.pop_front()
    }

    fn work(&self) {
        while let Some(mut turn) = self.take() {
            if !turn() {
                self.push(turn);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use futures_executor::block_on;

    use super::*;

    #[test]
    fn a_short_read_does_not_wait_for_all_of_a_long_one() {
        let readers = Readers::start(1).unwrap();
        let (may_end, end) = channel::<()>();
        let mut turns = 0;
        let long = readers.run(move || {
            turns += 1;
            Ok(end.try_recv().is_ok().then_some(turns))
        });
        assert_eq!(block_on(readers.run(|| Ok(Some("short")))), Ok("short"));
        may_end.send(()).unwrap();
        assert!(block_on(long).unwrap() > 0);
    }

    #[test]
    fn a_read_that_panics_is_answered_by_an_error_and_the_thread_goes_on() {
        let readers = Readers::start(1).unwrap();
        let panics = readers.run(|| -> Result<Option<()>, _> { panic!("for the test") });
        let expected = ReadError::Disk("reading it has panicked: for the test".into());
        assert_eq!(block_on(panics), Err(expected));
        assert_eq!(block_on(readers.run(|| Ok(Some("next")))), Ok("next"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn readers_give_way_and_those_for_publishers_do_not() {
        let nice = || rustix::process::getpriority_process(None).map_err(|error| error.to_string());
        let of = |readers: Readers| block_on(readers.run(move || Ok(Some(nice())))).unwrap();
        assert_eq!(of(Readers::start(1).unwrap()), Ok(NICE));
        assert_eq!(of(Readers::start_for_publishers().unwrap()), nice());
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_not_done() {
        let readers = Readers::start(1).unwrap();
        let (told, turns) = channel();
        drop(readers.run(move || {
            told.send(()).ok();
            Ok(None::<()>)
        }));
        // The sender goes with the read.
        turns.iter().for_each(drop);
    }
}
