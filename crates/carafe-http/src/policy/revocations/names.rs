//! Whose rights a request has, as hashes: an open stream keeps them, so they have to be small.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU64;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

#[cfg(feature = "auth")]
use crate::auth::verified::Verified;
use crate::policy::revocations::record::{Target, Who};

/// Keyed at random, so that nobody can choose a name that collides with another's.
static HASHES: LazyLock<RandomState> = LazyLock::new(RandomState::new);

type Hash = NonZeroU64;

/// What a revocation names: a subject or a token, and its issuer, or no issuer for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    is_token: bool,
    name: Hash,
    issuer: Option<Hash>,
}

/// The names in a token, or of an app's user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    subject: Option<Hash>,
    token_id: Option<Hash>,
    issuer: Option<Hash>,
    /// When the rights were issued, in milliseconds since 1970; 0 if that is unknown.
    issued: u64,
}

impl Key {
    pub(crate) fn of(target: &Target) -> Self {
        let (is_token, name) = match &target.who {
            Who::Subject(name) => (false, name),
            Who::TokenId(name) => (true, name),
        };
        Self { is_token, name: hash(name), issuer: target.issuer.as_deref().map(hash) }
    }

    /// Whether it names one token, which is refused whenever it was issued.
    pub(crate) fn is_token(self) -> bool {
        self.is_token
    }
}

impl Names {
    /// The claims `sub`, `jti`, `iss` and `iat`.
    #[cfg(feature = "auth")]
    pub(crate) fn of_token(verified: &Verified) -> Self {
        let text = |claim| verified.claims.get(claim).and_then(serde_json::Value::as_str);
        // Not a number: as if it were missing, which is the case that is refused.
        let issued = verified.claims.get("iat").and_then(serde_json::Value::as_f64);
        Self {
            subject: verified.subject().map(hash),
            token_id: text("jti").map(hash),
            issuer: text("iss").map(hash),
            // Saturates; negative times are long past.
            issued: issued.map_or(0, |seconds| (seconds * 1000.0) as u64),
        }
    }

    /// A user of the app, whose rights may say when they were issued.
    pub(crate) fn of_user(identity: &str, issued: Option<SystemTime>) -> Self {
        let issued = issued.map_or(0, milliseconds);
        Self { subject: Some(hash(identity)), issued, ..Self::default() }
    }

    /// Whether there is nothing that a revocation could name.
    pub(crate) fn are_none(&self) -> bool {
        self.subject.is_none() && self.token_id.is_none()
    }

    /// When the rights were issued, in milliseconds since 1970.
    pub(crate) fn issued(&self) -> Option<u64> {
        Some(self.issued).filter(|issued| *issued > 0)
    }

    /// What a revocation of these may be stored under.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> {
        let names = [(false, self.subject), (true, self.token_id)];
        let issuers = [Some(None), self.issuer.map(Some)].into_iter().flatten();
        let names =
            names.into_iter().filter_map(|(is_token, name)| name.map(|name| (is_token, name)));
        names.flat_map(move |(is_token, name)| {
            issuers.clone().map(move |issuer| Key { is_token, name, issuer })
        })
    }
}

pub(crate) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn hash(name: &str) -> Hash {
    NonZeroU64::new(HASHES.hash_one(name)).unwrap_or(NonZeroU64::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There may be a million open streams with them.
    #[test]
    fn names_take_four_words() {
        assert_eq!(size_of::<Names>(), 32);
    }
}
