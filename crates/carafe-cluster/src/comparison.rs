//! Asks the engine whether it has what a node has read.

use crate::engine::{Engine, EngineError, State};
use crate::engine_time::EngineTime;
use crate::place::{Divergence, Place};
use crate::shared::bounded;

/// What a comparison has found.
pub(crate) struct Comparison {
    /// What the engine has.
    pub(crate) state: State,
    /// Its time.
    pub(crate) time: EngineTime,
    /// Whether the place of the node is in it.
    pub(crate) judgement: Result<(), Divergence>,
}

/// Compares the place of a node with the engine.
pub(crate) async fn compare(engine: &dyn Engine, place: &Place) -> Result<Comparison, EngineError> {
    let state = bounded(engine.state()).await?;
    // Before anything else is asked, which takes time.
    let time = EngineTime::answered(state.now);
    let message = match place.compared(&state) {
        Some(sequence) => bounded(engine.get(sequence)).await?,
        None => None,
    };
    let judgement = place.judge(&state, message.as_ref());
    Ok(Comparison { state, time, judgement })
}
