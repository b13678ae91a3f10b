//! The threads that read history. Their number is bounded, so that many clients that resume at once
//! do not delay the writer. They know nothing of what they read.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use futures_channel::oneshot;

use crate::panics::caught;
use crate::{BoxFuture, ReadError};

/// The nice value of the threads: the lowest priority. The scheduler gives each thread slices of
/// some milliseconds, and fewer of them to a thread with a higher value. With a value of 10, five
/// threads used their slices one after the other, and a publisher waited for 20 ms.
#[cfg(target_os = "linux")]
const NICE: i32 = 19;

/// One turn of a read. Returns whether it was the last one.
pub(crate) type Turn = Box<dyn FnMut() -> bool + Send>;

/// Runs reads that take long or wait for a disk, in turns of some milliseconds. After each turn, a
/// read goes to the end of the queue, so that a short read does not wait for a whole long one.
pub(crate) struct Readers {
    queue: Arc<Queue>,
}

#[derive(Default)]
struct Queue {
    // Held only to push or take a turn, never while one runs.
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Default)]
struct Waiting {
    turns: VecDeque<Turn>,
    closed: bool,
}

impl Readers {
    /// Starts threads of low priority, which yield to publishing and delivery when all processors
    /// are busy.
    pub(crate) fn start(count: usize) -> std::io::Result<Self> {
        Self::start_after(count, give_way)
    }

    /// Starts one thread of normal priority for reads that publishers wait for.
    pub(crate) fn start_for_publishers() -> std::io::Result<Self> {
        Self::start_after(1, || {})
    }

    fn start_after(count: usize, prepare: fn()) -> std::io::Result<Self> {
        let readers = Self { queue: Arc::default() };
        // Without a thread, reads would wait forever.
        for _ in 0..count.max(1) {
            let queue = Arc::clone(&readers.queue);
            thread::Builder::new().name("carafe-log-read".into()).spawn(move || {
                prepare();
                queue.work();
            })?;
        }
        Ok(readers)
    }

    /// Queues a read. Its turns run until the last one.
    pub(crate) fn push(&self, turn: Turn) {
        self.queue.push(turn);
    }

    /// Runs `read` turn by turn until it returns an answer. A panic becomes an error, and the
    /// thread continues with the next read.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        mut read: impl FnMut() -> Result<Option<T>, ReadError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, ReadError>> {
        let (reply, answer) = oneshot::channel();
        let mut reply = Some(reply);
        self.queue.push(Box::new(move || {
            // The caller has dropped the future: skip the rest of the work.
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
            // The sender is dropped without an answer only when the log is dropped.
            answer.await.map_err(|_| ReadError::Disk("the threads that read it are gone".into()))?
        })
    }
}

/// Runs `read` and turns a panic into an error. The read is not run again.
pub(crate) fn read_or_fail<T>(read: impl FnOnce() -> Result<T, ReadError>) -> Result<T, ReadError> {
    caught(read).unwrap_or_else(|panic| {
        tracing::error!(panic, "reading the log has panicked");
        Err(ReadError::Disk(format!("reading it has panicked: {panic}").into()))
    })
}

/// Lowers the priority of this thread, so that it gives way to publishing and delivery where all
/// processors are in use. Only Linux has a priority for each thread: elsewhere nothing changes.
///
/// ```
/// let indexing = std::thread::spawn(|| {
///     carafe_log::give_way();
///     // Expensive work that may wait.
/// });
/// indexing.join().unwrap();
/// ```
pub fn give_way() {
    // On other systems, this sets the priority of the whole process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "a thread that should give way keeps its usual priority");
    }
}

impl Drop for Readers {
    /// Ends the threads and drops the reads that wait.
    fn drop(&mut self) {
        let mut waiting = self.queue.waiting();
        waiting.closed = true;
        let dropped = std::mem::take(&mut waiting.turns);
        // Dropping a read may take long or call other code: not under the lock.
        drop(waiting);
        drop(dropped);
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
            // To the end of the queue: every read that waits gets its turn first.
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
    fn a_read_that_panics_returns_an_error_and_the_thread_continues() {
        let readers = Readers::start(1).unwrap();
        let panics = readers.run(|| -> Result<Option<()>, _> { panic!("for the test") });
        let expected = ReadError::Disk("reading it has panicked: for the test".into());
        assert_eq!(block_on(panics), Err(expected));
        assert_eq!(block_on(readers.run(|| Ok(Some("next")))), Ok("next"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn readers_have_a_low_priority_and_those_for_publishers_do_not() {
        let nice = || rustix::process::getpriority_process(None).map_err(|error| error.to_string());
        let of = |readers: Readers| block_on(readers.run(move || Ok(Some(nice())))).unwrap();
        assert_eq!(of(Readers::start(1).unwrap()), Ok(NICE));
        assert_eq!(of(Readers::start_for_publishers().unwrap()), nice());
    }

    #[test]
    fn a_read_whose_future_is_dropped_is_not_run() {
        let readers = Readers::start(1).unwrap();
        let (ran, turns) = channel();
        drop(readers.run(move || {
            ran.send(()).ok();
            Ok(None::<()>)
        }));
        // The iterator ends when the read, which owns the sender, is dropped.
        turns.iter().for_each(drop);
    }
}
