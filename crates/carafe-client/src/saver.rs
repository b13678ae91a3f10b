//! When a position is saved in its store.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::store::{Store, StoreFuture};

/// Saves the positions of events that were handled, one after another.
pub(crate) struct Saver {
    store: Box<dyn Store>,
    /// The least time between two saves while events arrive without a pause.
    interval: Duration,
    saved: String,
    saving: Option<(String, StoreFuture<()>)>,
    saved_at: Option<Instant>,
}

/// How urgent it is to save a position.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Another event is requested.
    Busy,
    /// There is nothing else to do.
    Idle,
    /// Nothing follows before it is saved.
    Last,
}

impl Saver {
    pub(crate) fn new(store: Box<dyn Store>, interval: Duration) -> Self {
        Self { store, interval, saved: String::new(), saving: None, saved_at: None }
    }

    pub(crate) fn load(&self) -> StoreFuture<Option<String>> {
        self.store.load()
    }

    /// This position was loaded.
    pub(crate) fn loaded(&mut self, position: &str) {
        position.clone_into(&mut self.saved);
    }

    /// Saves the position if it is time. Completes when the source may go on: at once, unless each
    /// position has to be saved, or this is the last one.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        handled: &str,
        urgency: Urgency,
    ) -> Poll<io::Result<()>> {
        loop {
            if let Some((position, saving)) = &mut self.saving {
                let Poll::Ready(outcome) = saving.as_mut().poll(cx) else {
                    let waits = urgency == Urgency::Last || self.interval.is_zero();
                    return if waits { Poll::Pending } else { Poll::Ready(Ok(())) };
                };
                let position = std::mem::take(position);
                self.saving = None;
                outcome?;
                self.saved = position;
            }
            if handled == self.saved || !self.is_due(urgency) {
                return Poll::Ready(Ok(()));
            }
            self.saved_at = Some(Instant::now());
            self.saving = Some((handled.into(), self.store.save(handled.into())));
        }
    }

    fn is_due(&self, urgency: Urgency) -> bool {
        urgency != Urgency::Busy || self.saved_at.is_none_or(|at| at.elapsed() >= self.interval)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::poll_fn;
    use std::sync::{Arc, Mutex};
    use std::task::Waker;

    use tokio::sync::oneshot;

    use super::*;

    /// Each save ends when the test says so.
    #[derive(Clone, Default)]
    struct Slow {
        saved: Arc<Mutex<Vec<String>>>,
        begun: Arc<Mutex<VecDeque<oneshot::Sender<io::Result<()>>>>>,
    }

    impl Store for Slow {
        fn load(&self) -> StoreFuture<Option<String>> {
            Box::pin(async { Ok(None) })
        }

        fn save(&self, position: String) -> StoreFuture<()> {
            let (sender, end) = oneshot::channel();
            self.begun.lock().unwrap().push_back(sender);
            let saved = Arc::clone(&self.saved);
            Box::pin(async move {
                end.await.unwrap()?;
                saved.lock().unwrap().push(position);
                Ok(())
            })
        }
    }

    impl Slow {
        fn end(&self, result: io::Result<()>) {
            self.begun.lock().unwrap().pop_front().unwrap().send(result).unwrap();
        }

        fn begun(&self) -> usize {
            self.begun.lock().unwrap().len()
        }
    }

    fn poll(saver: &mut Saver, position: &str, urgency: Urgency) -> Poll<io::Result<()>> {
        saver.poll(&mut Context::from_waker(Waker::noop()), position, urgency)
    }

    fn may_go_on(saver: &mut Saver, position: &str, urgency: Urgency) -> bool {
        matches!(poll(saver, position, urgency), Poll::Ready(Ok(())))
    }

    #[tokio::test(start_paused = true)]
    async fn positions_are_saved_when_idle_and_once_per_interval() {
        let store = Slow::default();
        let mut saver = Saver::new(Box::new(store.clone()), Duration::from_secs(1));
        for position in ["1", "2"] {
            assert!(may_go_on(&mut saver, position, Urgency::Busy), "events do not wait");
        }
        store.end(Ok(()));
        assert!(may_go_on(&mut saver, "3", Urgency::Busy));
        assert_eq!((store.begun(), &**store.saved.lock().unwrap()), (0, &["1".to_owned()][..]));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(may_go_on(&mut saver, "4", Urgency::Busy));
        store.end(Ok(()));
        assert!(may_go_on(&mut saver, "5", Urgency::Idle));
        store.end(Ok(()));
        assert!(may_go_on(&mut saver, "5", Urgency::Last));
        assert_eq!(*store.saved.lock().unwrap(), ["1", "4", "5"]);
    }

    #[tokio::test]
    async fn with_no_interval_each_position_is_saved_before_the_next_event() {
        let store = Slow::default();
        let mut saver = Saver::new(Box::new(store.clone()), Duration::ZERO);
        assert!(poll(&mut saver, "1", Urgency::Busy).is_pending());
        store.end(Ok(()));
        assert!(may_go_on(&mut saver, "1", Urgency::Busy));
        assert!(poll(&mut saver, "2", Urgency::Busy).is_pending());
    }

    #[tokio::test]
    async fn the_last_position_is_saved_after_one_that_is_being_saved() {
        let store = Slow::default();
        let mut saver = Saver::new(Box::new(store.clone()), Duration::from_secs(1));
        assert!(may_go_on(&mut saver, "1", Urgency::Busy));
        assert!(poll(&mut saver, "2", Urgency::Last).is_pending());
        store.end(Ok(()));
        assert!(poll(&mut saver, "2", Urgency::Last).is_pending());
        store.end(Ok(()));
        poll_fn(|cx| saver.poll(cx, "2", Urgency::Last)).await.unwrap();
        assert_eq!(*store.saved.lock().unwrap(), ["1", "2"]);
    }

    #[tokio::test]
    async fn a_failed_save_is_reported() {
        let store = Slow::default();
        let mut saver = Saver::new(Box::new(store.clone()), Duration::from_secs(1));
        assert!(may_go_on(&mut saver, "1", Urgency::Idle));
        store.end(Err(io::Error::other("full")));
        assert!(matches!(poll(&mut saver, "2", Urgency::Idle), Poll::Ready(Err(_))));
    }
}
