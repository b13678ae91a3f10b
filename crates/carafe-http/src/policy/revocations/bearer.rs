//! Whose rights a request or an open stream has, and whether they were revoked.

use std::fmt;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::policy::revocations::names::Names;
use crate::policy::revocations::state::State;
use crate::policy::revocations::watchers::Flag;

/// Whose rights a request or an open stream has: the holder of a token, or a user of the app.
#[derive(Clone)]
pub(crate) struct Bearer {
    state: Arc<State>,
    names: Names,
}

impl Bearer {
    /// `None` if no revocation can name the bearer.
    pub(super) fn new(state: &Arc<State>, names: Names) -> Option<Self> {
        (!names.are_none()).then(|| Self { state: Arc::clone(state), names })
    }

    /// Whether the rights were revoked.
    pub(crate) fn is_revoked(&self) -> bool {
        self.state.revokes(&self.names)
    }

    /// Completes when the rights are revoked. For streams of shards there are reviews instead.
    pub(crate) fn watch(&self) -> Watched {
        let (number, flag) = self.state.watchers.add(self.names);
        // After it was added: a revocation from here on finds it, and one before is found here.
        if self.is_revoked() {
            flag.set();
        }
        Watched { state: Arc::clone(&self.state), number, flag }
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bearer").field(&self.names).finish()
    }
}

/// Completes when the rights of the bearer are revoked; never without one.
pub(crate) async fn revoked(bearer: Option<&Bearer>) {
    match bearer {
        Some(bearer) => bearer.watch().await,
        None => pending().await,
    }
}

/// A future that completes when the rights of its bearer are revoked.
pub(crate) struct Watched {
    state: Arc<State>,
    number: u64,
    flag: Arc<Flag>,
}

impl Future for Watched {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.flag.poll(cx.waker())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.state.watchers.remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each open stream with a token has one.
    #[test]
    fn a_bearer_takes_five_words() {
        assert_eq!(size_of::<Option<Bearer>>(), 40);
    }
}
