//! The keys that a hub trusts.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use serde_json::{Map, Value};

use crate::auth::key::Key;
use crate::auth::refused::{self, Refused};
use crate::auth::remote_set::RemoteSet;
use crate::auth::trusted::Head;
use crate::auth::verified::{Dialect, Verified};

/// The keys that a hub trusts. All clones of it are one: keys that are replaced in one are replaced
/// in all.
#[derive(Clone, Debug, Default)]
pub struct Keys(Arc<TrustStore>);

#[derive(Debug, Default)]
struct TrustStore {
    keys: ArcSwap<Vec<Key>>,
    identities: RandomState,
}

impl Keys {
    /// The most bytes that a token may have.
    pub const TOKEN_BYTES: usize = refused::TOKEN_BYTES;

    /// These keys. Without any, tokens are not looked at, and all who ask are strangers.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = Key>) -> Self {
        let new = Self::default();
        new.replace(keys);
        new
    }

    /// Trusts these keys from now on, and no others. Streams that are open stay open until their
    /// tokens expire, and a JWK Set under the same URL is not fetched again.
    pub fn replace(&self, keys: impl IntoIterator<Item = Key>) {
        let mut keys: Vec<_> = keys.into_iter().collect();
        let before = self.0.keys.load();
        keys.iter_mut().for_each(|key| key.adopt(&before));
        // Its rules are the weakest, and must not come before those of others for the same
        // material.
        keys.sort_by_key(|key| key.bounds.dialect == Dialect::Mercure0);
        self.0.keys.store(Arc::new(keys));
    }

    /// Fetches the JWK Sets under URLs that are older than they may be; for a task that calls it
    /// again and again, such as each few seconds. Without it they are fetched when a token names a
    /// key that is not in them.
    pub async fn refresh(&self) {
        for remote in self.0.keys.load_full().iter().filter_map(Key::remote) {
            remote.refresh().await;
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.keys.load().is_empty()
    }

    /// Whether one of them has this dialect.
    #[must_use]
    pub fn speak(&self, dialect: Dialect) -> bool {
        self.0.keys.load().iter().any(|key| key.bounds.dialect == dialect)
    }

    /// The issuers that keys of this dialect are bound to, each once.
    #[must_use]
    pub fn issuers(&self, dialect: Dialect) -> Vec<String> {
        let keys = self.0.keys.load();
        let of_dialect = keys.iter().filter(|key| key.bounds.dialect == dialect);
        let issuers: BTreeSet<_> = of_dialect.filter_map(|key| key.bounds.issuer.clone()).collect();
        issuers.into_iter().collect()
    }

    /// Takes a token that a key of one of these dialects has signed. The signature is checked
    /// before any claim is looked at, and the first key that has signed it, for the issuer it
    /// names, decides.
    ///
    /// # Errors
    /// When it is not to be taken.
    pub async fn verify(&self, token: &str, dialects: &[Dialect]) -> Result<Verified, Refused> {
        let head = Head::read(token)?;
        let keys = self.0.keys.load_full();
        let judged = self.judge(&keys, token, &head, dialects);
        let remotes = unknown(&keys, &head, dialects);
        if !matches!(judged, Err(Refused::Untrusted)) || remotes.is_empty() {
            return judged;
        }
        for remote in &remotes {
            remote.fetch_for_unknown_key().await;
        }
        self.judge(&keys, token, &head, dialects)
    }

    fn judge(
        &self,
        keys: &[Key],
        token: &str,
        head: &Head,
        dialects: &[Dialect],
    ) -> Result<Verified, Refused> {
        let mut foreign = None;
        for (number, key) in keys.iter().enumerate() {
            let dialect = key.bounds.dialect;
            if !dialects.contains(&dialect)
                || foreign.is_some_and(|signed_for| signed_for != dialect)
            {
                continue;
            }
            match self.judge_by(number, key, token, head) {
                // Two issuers may share a key, though not under the rules of another dialect.
                Err(Refused::Issuer) => foreign = Some(dialect),
                Err(Refused::Untrusted) => {}
                decided => return decided,
            }
        }
        Err(if foreign.is_some() { Refused::Issuer } else { Refused::Untrusted })
    }

    fn judge_by(
        &self,
        number: usize,
        key: &Key,
        token: &str,
        head: &Head,
    ) -> Result<Verified, Refused> {
        let signed = key.find(head).ok_or(Refused::Untrusted)?.verify(token, head)?;
        let expires = key.bounds.check(&signed, SystemTime::now())?;
        let identity = self.identity(number, &signed.claims, token);
        let (claims, dialect) = (Value::Object(signed.claims), key.bounds.dialect);
        Ok(Verified { claims, dialect, expires, identity })
    }

    fn identity(&self, key: usize, claims: &Map<String, Value>, token: &str) -> u64 {
        let text = |claim| claims.get(claim).and_then(Value::as_str);
        let mut hasher = self.0.identities.build_hasher();
        match text("sub") {
            Some(subject) => (key, text("iss"), subject).hash(&mut hasher),
            None => token.hash(&mut hasher),
        }
        hasher.finish()
    }
}

/// The sets under URLs that have nothing to check the token with.
fn unknown(keys: &[Key], head: &Head, dialects: &[Dialect]) -> Vec<RemoteSet> {
    let asked = keys
        .iter()
        .filter(|key| dialects.contains(&key.bounds.dialect) && key.find(head).is_none());
    asked.filter_map(Key::remote).cloned().collect()
}
