//! What a node does with its local log before it follows the engine.

use carafe_log::{AppendAt, Read, ReadError};
use carafe_protocol::{Generation, Offset, Position};

use crate::comparison::{Comparison, compare};
use crate::engine::{Engine, EngineError, State};
use crate::offsets::{first_offset, offset_before, sequence_of};
use crate::place::{Divergence, Place, is_of};

/// What a node has to do with its local log before it follows the engine.
///
/// ```
/// use carafe_cluster::{MemoryEngine, Plan, plan};
/// use carafe_log::{MemoryLimits, MemoryLog};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let log = MemoryLog::default();
/// let plan = plan(&MemoryEngine::new("events"), &log).await?;
/// assert!(matches!(plan, Plan::Clear { after: 0, .. }), "the log is of another generation");
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// The log is a part of what the engine has, and goes on behind its newest entry.
    GoOn,
    /// The engine does not have the entries behind a position: they have to be removed.
    GoBack {
        /// The last position that the log and the engine have in common.
        to: Position,
        /// Why.
        why: Divergence,
    },
    /// The log has to be replaced by an empty one.
    Clear {
        /// The generation of the new log.
        generation: Generation,
        /// The offset behind which the new log begins.
        after: Offset,
        /// Why.
        why: Divergence,
    },
}

impl Plan {
    /// Why the log has to be changed, if it has to.
    #[must_use]
    pub fn why(&self) -> Option<Divergence> {
        match self {
            Self::GoOn => None,
            Self::GoBack { why, .. } | Self::Clear { why, .. } => Some(*why),
        }
    }
}

/// A node cannot compare its local log with the engine.
///
/// ```
/// use carafe_cluster::{EngineError, PlanError};
///
/// let error = PlanError::from(EngineError::Missing);
/// assert!(matches!(error, PlanError::Engine(EngineError::Missing)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The engine does not answer.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The local log cannot be read.
    #[error("the log of this node cannot be read: {0}")]
    Read(#[from] ReadError),
}

/// Compares a log with the engine. Nothing else may fill the log meanwhile.
///
/// # Errors
/// When the engine does not answer, or the log cannot be read.
pub async fn plan<L>(engine: &dyn Engine, log: &L) -> Result<Plan, PlanError>
where
    L: AppendAt + Read + ?Sized,
{
    let Comparison { state, judgement, .. } = compare(engine, &Place::of(log)).await?;
    let Err(why) = judgement.and_then(|()| check_keys(&state, log)) else { return Ok(Plan::GoOn) };
    let to = match why {
        Divergence::LostTail { .. } | Divergence::OtherMessage { .. } => {
            last_common(engine, log, &state).await?
        }
        Divergence::Overtaken { .. }
        | Divergence::LacksKeys { .. }
        | Divergence::OtherStream { .. } => None,
    };
    let (generation, after) = (state.identity.generation, begin_after(&state));
    Ok(to.map_or(Plan::Clear { generation, after, why }, |to| Plan::GoBack { to, why }))
}

/// A log that lacks keys gets them when it is filled again, if the engine has more than the log.
pub(crate) fn check_keys<R: Read + ?Sized>(state: &State, log: &R) -> Result<(), Divergence> {
    let start = sequence_of(log.span().start.offset);
    let helps = log.lacks_keys() && state.first <= start;
    if helps { Err(Divergence::LacksKeys { start }) } else { Ok(()) }
}

/// The offset behind which a new log begins that an engine fills.
///
/// ```
/// use carafe_cluster::{Engine, MemoryEngine, begin_after};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let state = MemoryEngine::new("events").state().await?;
/// assert_eq!(begin_after(&state), 0);
/// # Ok(()) }
/// ```
#[must_use]
pub fn begin_after(state: &State) -> Offset {
    offset_before(state.first)
}

/// The newest entry of the log that the engine has, too. `None` if it has none from which the log
/// could go on.
///
/// What both have is one piece from the start, so its end is found in a few steps.
async fn last_common<R: Read + ?Sized>(
    engine: &dyn Engine,
    log: &R,
    state: &State,
) -> Result<Option<Position>, PlanError> {
    let span = log.span();
    // Up to `common`, both have the same. Behind `other`, they do not.
    let mut common = state.first.saturating_sub(1);
    let mut other = state.last.min(sequence_of(span.tail.offset)) + 1;
    while other.saturating_sub(common) > 1 {
        let middle = common + (other - common) / 2;
        let entry = log.before(first_offset(middle + 1)).await?;
        if is_common(engine, state, entry).await? {
            common = middle;
        } else {
            other = middle;
        }
    }
    let to = log.before(first_offset(common + 1)).await?;
    // Without an entry before `to`, there is nothing to keep.
    let goes_on = to.offset > span.start.offset && sequence_of(to.offset) + 1 >= state.first;
    Ok(goes_on.then_some(to))
}

async fn is_common(
    engine: &dyn Engine,
    state: &State,
    entry: Position,
) -> Result<bool, EngineError> {
    let sequence = sequence_of(entry.offset);
    // Older than what the engine keeps: nothing speaks against it.
    if sequence < state.first {
        return Ok(true);
    }
    Ok(engine.get(sequence).await?.is_some_and(|message| is_of(entry, &message)))
}
