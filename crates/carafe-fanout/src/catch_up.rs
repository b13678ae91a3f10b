//! The budget for larger send buffers, shared by shards and connections.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// The budget for the larger send buffers of clients that are behind. Clones share it.
///
/// ```
/// use carafe_fanout::{CatchUp, ShardOptions};
///
/// let catch_up = CatchUp::new(16 << 20);
/// catch_up.on_refused(|| eprintln!("a client catches up more slowly"));
/// let mut options = ShardOptions::default();
/// options.catch_up = catch_up;
/// ```
#[derive(Clone)]
pub struct CatchUp(Arc<Pool>);

struct Pool {
    left: AtomicUsize,
    on_refused: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl CatchUp {
    /// A budget of so many bytes. If it is used up, clients keep their usual buffer and catch up
    /// more slowly.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Pool { left: AtomicUsize::new(bytes), on_refused: OnceLock::new() }))
    }

    /// Sets what is called each time a client gets no larger buffer. Only the first call has
    /// effect.
    pub fn on_refused(&self, call: impl Fn() + Send + Sync + 'static) {
        self.0.on_refused.get_or_init(|| Box::new(call));
    }

    /// Takes a part, unless the budget is used up.
    pub(crate) fn take(&self, bytes: usize) -> Option<Share> {
        // Relaxed: the count guards no other memory.
        let less = |left: usize| left.checked_sub(bytes);
        if self.0.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
            return Some(Share { pool: Arc::clone(&self.0), bytes });
        }
        self.0.on_refused.get().into_iter().for_each(|call| call());
        None
    }
}

impl Default for CatchUp {
    /// 64 MiB.
    fn default() -> Self {
        Self::new(64 << 20)
    }
}

impl fmt::Debug for CatchUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CatchUp({} bytes left)", self.0.left.load(Ordering::Relaxed))
    }
}

/// The part of the budget that one larger buffer uses.
pub(crate) struct Share {
    pool: Arc<Pool>,
    bytes: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        // Relaxed, as above. Never beyond the budget: each share was taken from it once.
        self.pool.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}
