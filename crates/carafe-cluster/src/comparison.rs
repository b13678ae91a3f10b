//! Asks the engine whether it has what a node has read.

use crate::engine::{Engine, EngineError, State};
use crate::place::{Divergence, Place};
use crate::shared::bounded;

/// What the engine has, and whether the place of a node is in it.
pub(crate) async fn compare(
    engine: &dyn Engine,
    place: &Place,
) -> Result<(State, Result<(), Divergence>), EngineError> {
    let state = bounded(engine.state()).await?;
    let message = match place.compared(&state) {
        Some(sequence) => bounded(engine.get(sequence)).await?,
        None => None,
    };
    let judgement = place.judge(&state, message.as_ref());
    Ok((state, judgement))
}
