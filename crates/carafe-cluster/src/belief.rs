//! What a node that starts believes of its engine.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use carafe_log::{AppendAt, Read};
use tokio::time::sleep;

use crate::engine::Engine;
use crate::options::ClusterOptions;
use crate::place::Divergence;
use crate::plan::{Plan, PlanError, plan};
use crate::suspicion::Suspicion;

/// Makes sure, before a log goes back, that its engine has lost what the log has. A server that has
/// lost its lead may be behind and not know it for some seconds.
///
/// ```
/// use carafe_cluster::{Belief, MemoryEngine, Plan};
/// use carafe_log::MemoryLog;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (engine, log) = (MemoryEngine::new("events"), MemoryLog::default());
/// let plan = Belief::default().plan(&engine, &log).await?;
/// assert!(matches!(plan, Plan::Clear { after: 0, .. }), "the log is of another generation");
/// # Ok(()) }
/// ```
#[derive(Default)]
pub struct Belief(Mutex<State>);

#[derive(Default)]
struct State {
    suspicion: Suspicion,
    /// The next difference was made sure of before.
    is_confirmed: bool,
}

impl Belief {
    /// Believes the first answer: it was made sure of before.
    #[must_use]
    pub fn confirmed() -> Self {
        Self(Mutex::new(State { is_confirmed: true, ..State::default() }))
    }

    /// Compares a log with the engine, as [`plan`] does. If the engine lacks entries of the log,
    /// asks again on another connection after [`ClusterOptions::believe_after`], and until it says
    /// the same. What was found out is kept if the engine does not answer, and forgotten with a
    /// plan: a later difference is another one.
    ///
    /// # Errors
    /// When the engine does not answer, or the log cannot be read.
    pub async fn plan<L: AppendAt + Read + ?Sized>(
        &self,
        engine: &dyn Engine,
        log: &L,
    ) -> Result<Plan, PlanError> {
        let wait = ClusterOptions::default().believe_after;
        loop {
            let plan = plan(engine, log).await?;
            let is_doubtful = |why: &Divergence| why.may_pass() && !self.is_certain(*why, wait);
            let Some(why) = plan.why().filter(is_doubtful) else {
                *self.state() = State::default();
                return Ok(plan);
            };
            tracing::warn!(%why, ?wait, "before the log goes back, the engine is asked again");
            sleep(wait).await;
            engine.renew();
        }
    }

    fn is_certain(&self, why: Divergence, wait: Duration) -> bool {
        let mut state = self.state();
        state.is_confirmed || state.suspicion.confirm(why, wait)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
