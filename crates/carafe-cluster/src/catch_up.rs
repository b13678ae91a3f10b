//! The task that asks the engine on behalf of readers whether the node has what there is: once at a
//! time, for all readers that ask meanwhile.

use std::sync::Arc;
use std::time::Duration;

use carafe_protocol::Generation;
use tokio::time::{sleep, timeout};

use crate::engine::Engine;
use crate::shared::{Shared, StopOnPanic, bounded};

/// The pause between two questions. Readers that wait for an event that nobody has must not make
/// the engine answer all the time.
const PAUSE: Duration = Duration::from_millis(20);

/// The pause after a question without an answer: each may begin a connection to the engine.
const PAUSE_AWAY: Duration = Duration::from_millis(200);

/// Answers the questions of readers until the task is aborted.
pub(crate) async fn run(engine: Arc<dyn Engine>, shared: Arc<Shared>, generation: Generation) {
    let _guard = StopOnPanic(Arc::clone(&shared));
    loop {
        let round = shared.questions.next().await;
        let has_caught_up = has_caught_up(&*engine, &shared, generation).await;
        shared.questions.answer(round, has_caught_up);
        sleep(if has_caught_up { PAUSE } else { PAUSE_AWAY }).await;
    }
}

async fn has_caught_up(engine: &dyn Engine, shared: &Shared, generation: Generation) -> bool {
    let Ok(state) = bounded(engine.state()).await else { return false };
    // What another stream has says nothing. The node is about to notice that.
    if state.identity.generation != generation {
        return false;
    }
    let reached = timeout(shared.options.answer_within, shared.reached(state.last)).await;
    reached.unwrap_or(false)
}
