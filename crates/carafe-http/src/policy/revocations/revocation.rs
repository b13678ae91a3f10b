//! What can be revoked, for how long, and why it was not.

use std::time::{Duration, SystemTime};

use carafe_hub::PublishError;
use carafe_log::ReadError;

use crate::policy::revocations::names::milliseconds;
use crate::policy::revocations::record::{Record, Target, Who};

/// The most bytes of a subject, of the ID of a token, and of an issuer.
const NAME_BYTES: usize = 1024;

/// How far the clocks of issuers may be ahead, with some reserve.
const TOLERANCE: Duration = Duration::from_secs(10);

/// What a hub may remember of revocations, and for how long it has to.
///
/// ```
/// use std::time::Duration;
/// use carafe_http::{Options, RevocationLimits, Revocations};
///
/// let mut limits = RevocationLimits::default();
/// limits.token_life = Some(Duration::from_secs(24 * 60 * 60));
/// let mut options = Options::default();
/// options.revocations = Revocations::new(limits);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RevocationLimits {
    /// The most revocations that are in force at the same time.
    pub most: usize,
    /// The longest life of a token, from its issue (`iat`) to its end (`exp`). Tokens that live
    /// longer, or do not say both, are rejected, and revocations end after this time unless they
    /// say otherwise. Without it, they end when they are lifted.
    pub token_life: Option<Duration>,
    /// The age at which the log removes entries, if there is one. Revocations in force are stored
    /// again before.
    pub history_age: Option<Duration>,
}

impl Default for RevocationLimits {
    /// 10,000 revocations, and no limits of time.
    fn default() -> Self {
        Self { most: 10_000, token_life: None, history_age: None }
    }
}

/// What to revoke: the tokens and the rights of a subject, or one token.
///
/// ```
/// use std::time::Duration;
/// use carafe_http::Revocation;
///
/// let account = Revocation::of_subject("ann").with_issuer("https://login.example.com");
/// let laptop = Revocation::of_token("b3c7a6e0").lasting(Duration::from_secs(8 * 60 * 60));
/// # drop((account, laptop));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Revocation {
    target: Target,
    issued_before: Option<SystemTime>,
    lasts: Option<Duration>,
}

impl Revocation {
    /// Revokes the tokens whose subject (`sub`) is this, and the rights of the app's user with this
    /// [identity](crate::Rights::with_identity).
    pub fn of_subject(subject: impl Into<String>) -> Self {
        Self::of(Who::Subject(subject.into()))
    }

    /// Revokes the token whose ID (`jti`) is this.
    pub fn of_token(token_id: impl Into<String>) -> Self {
        Self::of(Who::TokenId(token_id.into()))
    }

    fn of(who: Who) -> Self {
        Self { target: Target { who, issuer: None }, issued_before: None, lasts: None }
    }

    /// Revokes only tokens of this issuer (`iss`): another one may have the same subject. Users of
    /// an app have no issuer.
    pub fn with_issuer(mut self, issuer: impl Into<String>) -> Self {
        self.target.issuer = Some(issuer.into());
        self
    }

    /// Refuses tokens of the subject that were issued before this time, by the clock of the issuer,
    /// in whole seconds. By default, that is the second after now. Tokens that do not say when they
    /// were issued (`iat`) are always refused.
    pub fn issued_before(mut self, time: SystemTime) -> Self {
        self.issued_before = Some(time);
        self
    }

    /// Ends the revocation after this time, in place of the longest life of a token.
    pub fn lasting(mut self, time: Duration) -> Self {
        self.lasts = Some(time);
        self
    }

    /// Checks the names.
    pub(super) fn check(&self) -> Result<(), BadRevocation> {
        let (Who::Subject(name) | Who::TokenId(name)) = &self.target.who;
        let names = [Some(name), self.target.issuer.as_ref()];
        let fits = |name: &String| (1..=NAME_BYTES).contains(&name.len());
        if names.into_iter().flatten().all(fits) { Ok(()) } else { Err(BadRevocation) }
    }

    /// The record of a revocation that is made now.
    pub(super) fn record(&self, now: SystemTime, token_life: Option<Duration>) -> Record {
        let (now, changed) = (milliseconds(now) / 1000, milliseconds(now));
        // `iat` has whole seconds: a token of this second may have been issued before now.
        let issued_before = self.issued_before.map_or(now + 1, |time| milliseconds(time) / 1000);
        // The issuer's clock may be a little ahead, so a token may live that much longer.
        let life = token_life.map(|life| life.saturating_add(TOLERANCE));
        // Rounded up: a time that is too far away is never reached.
        let until =
            self.lasts.or(life).map(|lasts| now.saturating_add(lasts.as_secs()).saturating_add(1));
        Record { target: self.target.clone(), issued_before, until, changed, lifted: false }
    }
}

/// The names of a revocation are not valid.
///
/// ```
/// use carafe_http::BadRevocation;
///
/// println!("{BadRevocation}");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a subject, the ID of a token and an issuer have 1 to {NAME_BYTES} bytes: give them as they \
     are in the token"
)]
pub struct BadRevocation;

/// Why nothing was revoked or lifted.
///
/// ```
/// use carafe_http::{Revocation, Revocations, RevokeError};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let revocations = Revocations::default();
/// let revoked = revocations.revoke(&Revocation::of_subject("ann")).await;
/// assert_eq!(revoked, Err(RevokeError::NoHub));
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevokeError {
    /// A name is not valid.
    #[error(transparent)]
    Bad(#[from] BadRevocation),
    /// As many revocations are in force as the hub allows.
    #[error("{limit} revocations are in force: lift some, or let them end earlier")]
    TooMany {
        /// How many revocations may be in force.
        limit: usize,
    },
    /// The revocation has ended, or was lifted, before it could be reported.
    #[error("the revocation has ended already: let it last longer")]
    Over,
    /// The revocations in the log cannot be read.
    #[error("the revocations cannot be read: {0}")]
    Read(#[from] ReadError),
    /// The revocation cannot be stored.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// No router of a hub has these revocations in its options.
    #[error("the revocations belong to no hub: put them into the options of its router")]
    NoHub,
}
