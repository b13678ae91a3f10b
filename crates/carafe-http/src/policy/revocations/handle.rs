//! The handle of a hub's revocations: revoke, lift, list, and the check of a request.

use std::sync::Arc;
use std::time::SystemTime;

use carafe_hub::Hub;
use carafe_log::ReadError;
use prometheus_client::metrics::gauge::Gauge;
#[cfg(feature = "server")]
use tokio::sync::watch;
use tracing::info;

use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
#[cfg(feature = "auth")]
use crate::auth::refused::Refused;
#[cfg(feature = "auth")]
use crate::auth::verified::Verified;
use crate::policy::revocations::bearer::Bearer;
use crate::policy::revocations::names::{Names, milliseconds};
use crate::policy::revocations::record::{Record, Revoked, Who};
use crate::policy::revocations::revocation::{Revocation, RevocationLimits, RevokeError};
use crate::policy::revocations::state::{Attached, State};
use crate::policy::revocations::{history, keeper};

/// How far the clock of a token's issuer may be ahead, in milliseconds.
#[cfg(feature = "auth")]
const AHEAD: u64 = 5000;

/// The revoked tokens and users of a hub. Clones share them.
///
/// Put them into the [`Options`](crate::Options) of the hub's router, which begins to follow the
/// hub's log with the first request that has a token, or with the first call of a method here. All
/// routers of a hub should have the same. Revocations are entries of the log: with a log on disk
/// they hold after a restart, with a [`MemoryLog`](carafe_log::MemoryLog) until the process ends.
///
/// ```
/// use carafe_hub::Hub;
/// use carafe_http::{Options, Revocation, router};
/// use carafe_log::MemoryLog;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let options = Options::default();
/// let revocations = options.revocations.clone();
/// let app = router(Hub::new(MemoryLog::default()), options);
///
/// // Ends the streams of the user, and refuses the tokens that the user has now.
/// revocations.revoke(&Revocation::of_subject("ann")).await?;
/// assert_eq!(revocations.list().await?[0].subject(), Some("ann"));
/// # drop(app);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Revocations(Arc<State>);

impl Default for Revocations {
    /// With the default limits.
    fn default() -> Self {
        Self::new(RevocationLimits::default())
    }
}

impl Revocations {
    /// None yet, within these limits.
    #[must_use]
    pub fn new(limits: RevocationLimits) -> Self {
        Self(Arc::new(State::new(limits)))
    }

    /// Ends all streams of a subject or of a token, and refuses its tokens. Returns when the
    /// revocation is stored and requests are refused; the streams end right after that. `false` if
    /// it was in force already, and for as long: then nothing is stored.
    ///
    /// # Errors
    /// When a name is not valid, too many revocations are in force, or the log cannot be read or
    /// written.
    pub async fn revoke(&self, revocation: &Revocation) -> Result<(bool, Revoked), RevokeError> {
        revocation.check()?;
        let hub = self.loaded().await?;
        let _turn = self.0.changing.lock().await;
        let mut record = revocation.record(self.0.time_of_change(), self.0.limits.token_life);
        if let Some(known) = self.plan(&mut record)? {
            return Ok((false, known));
        }
        self.store(hub, &record).await?;
        log_revoked(&record);
        let revoked = self.0.table().get(&record, self.0.now()).map(|(_, revoked)| revoked);
        revoked.map(|revoked| (true, revoked)).ok_or(RevokeError::Over)
    }

    /// Checks a record against the table. Returns what is in force if that includes it.
    fn plan(&self, record: &mut Record) -> Result<Option<Revoked>, RevokeError> {
        let (table, limit) = (self.0.table(), self.0.limits.most);
        // A clock that was set back must not make the record older than the one before.
        record.changed = record.changed.max(table.changed(record) + 1);
        match table.get(record, self.0.now()) {
            Some((known, revoked)) if known.includes(record) => Ok(Some(revoked)),
            Some((known, _)) => {
                // Neither an earlier end nor an earlier time of issue takes anything back.
                record.issued_before = record.issued_before.max(known.issued_before);
                record.until = known.until.zip(record.until).map(|(one, other)| one.max(other));
                Ok(None)
            }
            None if table.in_force() >= limit || table.len() >= limit.saturating_mul(2) => {
                Err(RevokeError::TooMany { limit })
            }
            None => Ok(None),
        }
    }

    /// Lifts a revocation: tokens that it has refused are accepted again. `false` if there is none.
    ///
    /// # Errors
    /// As [`revoke`](Self::revoke).
    pub async fn lift(&self, revocation: &Revocation) -> Result<bool, RevokeError> {
        revocation.check()?;
        let hub = self.loaded().await?;
        let _turn = self.0.changing.lock().await;
        let wanted = revocation.record(self.0.time_of_change(), None);
        let known = self.0.table().get(&wanted, self.0.now()).map(|(known, _)| known.clone());
        let Some(known) = known else { return Ok(false) };
        let changed = milliseconds(self.0.time_of_change()).max(known.changed + 1);
        let record = Record { lifted: true, changed, ..known };
        self.store(hub, &record).await?;
        info!(whom = %Named(&record), "lifted a revocation");
        Ok(true)
    }

    /// The revocations that are in force, the oldest first.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn list(&self) -> Result<Vec<Revoked>, RevokeError> {
        self.loaded().await?;
        Ok(self.0.table().list(self.0.now()))
    }

    /// Reads the revocations in the log of the router's hub, and follows it. Requests wait for this
    /// anyway: call it at the start to learn about errors, and so that the first does not wait.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn load(&self) -> Result<(), RevokeError> {
        self.loaded().await.map(drop)
    }

    /// Stores a record, and waits until the log has passed it on.
    async fn store(&self, hub: &Hub, record: &Record) -> Result<(), RevokeError> {
        let position = hub.publish(record.publication()).await?.position;
        let mut applied = self.0.applied.subscribe();
        // The sender is in the state, which this handle holds.
        let _ = applied.wait_for(|applied| *applied >= position.offset).await;
        Ok(())
    }

    /// The hub, after its log was read.
    async fn loaded(&self) -> Result<&Hub, RevokeError> {
        let Attached { hub, .. } = self.0.attached.get().ok_or(RevokeError::NoHub)?;
        self.read(hub).await?;
        Ok(hub)
    }

    async fn read(&self, hub: &Hub) -> Result<(), ReadError> {
        if self.0.loaded.initialized() {
            return Ok(());
        }
        let load = || async {
            // A failed attempt has followed the log already.
            self.0.following.call_once(|| self.follow(hub));
            history::read(hub.log(), |entries| self.0.apply(entries)).await?;
            let (state, work) = (Arc::downgrade(&self.0), Arc::clone(&self.0.work));
            tokio::spawn(keeper::keep(state, work));
            Ok(())
        };
        self.0.loaded.get_or_try_init(load).await.map(drop)
    }

    fn follow(&self, hub: &Hub) {
        // Weak: the log must not keep what has the hub, and so the log.
        let state = Arc::downgrade(&self.0);
        let follower = move |entries: &[_]| {
            if let Some(state) = state.upgrade() {
                state.follow(entries);
            }
        };
        drop(hub.log().follow(0, Box::new(follower)));
    }

    /// Says whose revocations these are, and where their number is shown. Only the first call
    /// counts.
    pub(crate) fn attach(&self, hub: &Hub, gauge: Gauge) {
        self.0.attached.get_or_init(|| Attached::new(hub, gauge));
    }

    /// Changes with each revocation.
    #[cfg(feature = "server")]
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Waits until the log was read, before the first request with a token is answered.
    pub(crate) async fn are_known(&self) -> Result<(), Problem> {
        match self.0.attached.get() {
            Some(Attached { hub, .. }) => self.read(hub).await.map_err(|error| {
                tracing::error!(%error, "requests with tokens are rejected: the revocations in \
                                         the log cannot be read");
                Problem::try_again("the hub cannot read which tokens are revoked: try again")
            }),
            None => Ok(()),
        }
    }

    /// The bearer of a verified token, unless the token was revoked or lives too long.
    #[cfg(feature = "auth")]
    pub(crate) fn admit(&self, verified: &Verified) -> Result<Option<Bearer>, Refused> {
        let names = Names::of_token(verified);
        self.check_life(&names, verified.expires)?;
        let bearer = Bearer::new(&self.0, names);
        if bearer.as_ref().is_some_and(Bearer::is_revoked) {
            return Err(Refused::Revoked);
        }
        Ok(bearer)
    }

    /// Rejects a token that lives longer than any may: a revocation could end before it. So what
    /// counts is its whole life, not what is left of it.
    #[cfg(feature = "auth")]
    fn check_life(&self, names: &Names, expires: Option<SystemTime>) -> Result<(), Refused> {
        let Some(life) = self.0.limits.token_life else { return Ok(()) };
        // A token from the future would have its life still before it.
        let issued =
            names.issued().filter(|issued| *issued <= milliseconds(SystemTime::now()) + AHEAD);
        let longest = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
        let fits = issued.zip(expires).is_some_and(|(issued, expires)| {
            milliseconds(expires) <= issued.saturating_add(longest)
        });
        match fits {
            true => Ok(()),
            false => Err(Refused::claim(
                "exp",
                format!("is missing, or too long after `iat`: a token lives for {life:?} at most"),
            )),
        }
    }

    /// The bearer of an app's rights, unless they were revoked.
    pub(crate) fn admit_user(
        &self,
        identity: &str,
        issued: Option<SystemTime>,
    ) -> Result<Option<Bearer>, Problem> {
        let bearer = Bearer::new(&self.0, Names::of_user(identity, issued));
        if bearer.as_ref().is_some_and(Bearer::is_revoked) {
            return Err(Self::user_is_revoked());
        }
        Ok(bearer)
    }

    /// The rights of an app's user were revoked.
    pub(crate) fn user_is_revoked() -> Problem {
        let detail = "the rights of this user were revoked: log in again";
        Problem::of(ProblemKind::Forbidden, detail)
    }
}

fn log_revoked(record: &Record) {
    let (issued_before, until) = (record.issued_before, record.until);
    info!(whom = %Named(record), issued_before, until, "revoked tokens; their streams end");
}

/// Whom a record is about, in log lines.
struct Named<'a>(&'a Record);

impl std::fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0.target.who {
            Who::Subject(name) => write!(f, "subject {name:?}")?,
            Who::TokenId(name) => write!(f, "token {name:?}")?,
        }
        match &self.0.target.issuer {
            Some(issuer) => write!(f, " of {issuer:?}"),
            None => Ok(()),
        }
    }
}
