//! The keys that a hub trusts, and the verification of tokens.

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

/// The keys that a hub trusts. Clones share them: replacing the keys of one replaces those of
/// all.
///
/// ```
/// use carafe_http::Options;
/// use carafe_http::auth::{Key, Keys};
///
/// let (old, new) = ([1; 32], [2; 32]);
/// let keys = Keys::new([Key::secret(&old)?]);
/// let mut options = Options::default();
/// options.keys = keys.clone();
/// // While tokens of the old key are valid, the hub trusts both.
/// keys.replace([Key::secret(&old)?, Key::secret(&new)?]);
/// # Ok::<(), carafe_http::auth::BadKey>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Keys(Arc<TrustStore>);

#[derive(Debug, Default)]
struct TrustStore {
    keys: ArcSwap<Vec<Key>>,
    identities: RandomState,
}

impl Keys {
    /// The most bytes of a token.
    pub const TOKEN_BYTES: usize = refused::TOKEN_BYTES;

    /// These keys. Without keys, tokens are ignored.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = Key>) -> Self {
        let new = Self::default();
        new.replace(keys);
        new
    }

    /// Replaces all keys. Open streams stay open until their tokens expire. A JWK Set under the
    /// same URL is not fetched again.
    pub fn replace(&self, keys: impl IntoIterator<Item = Key>) {
        let mut keys: Vec<_> = keys.into_iter().collect();
        // Not atomic with the store below: keys are replaced by one task, at a reload.
        let before = self.0.keys.load();
        keys.iter_mut().for_each(|key| key.adopt(&before));
        // The rules of this dialect are the weakest: a key of another dialect with the same
        // material goes first.
        keys.sort_by_key(|key| key.bounds.dialect == Dialect::Mercure0);
        self.0.keys.store(Arc::new(keys));
    }

    /// Fetches the JWK Sets under URLs that are too old. Call it again and again in a task,
    /// such as every few seconds. Without it, sets are fetched only when a token names an unknown
    /// key.
    pub async fn refresh(&self) {
        for remote in self.0.keys.load_full().iter().filter_map(Key::remote) {
            remote.refresh().await;
        }
    }

    /// Whether there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.keys.load().is_empty()
    }

    /// Whether a key has this dialect.
    #[must_use]
    pub fn speak(&self, dialect: Dialect) -> bool {
        self.0.keys.load().iter().any(|key| key.bounds.dialect == dialect)
    }

    /// The issuers that keys of this dialect require, each once.
    #[must_use]
    pub fn issuers(&self, dialect: Dialect) -> Vec<String> {
        let keys = self.0.keys.load();
        let of_dialect = keys.iter().filter(|key| key.bounds.dialect == dialect);
        let issuers: BTreeSet<_> = of_dialect.filter_map(|key| key.bounds.issuer.clone()).collect();
        issuers.into_iter().collect()
    }

    /// Verifies a token that a key of one of these dialects has signed. The signature is
    /// checked before any claim is read. The first key that has signed the token, for the issuer
    /// that it names, decides.
    ///
    /// # Errors
    /// When the token is rejected.
    pub async fn verify(&self, token: &str, dialects: &[Dialect]) -> Result<Verified, Refused> {
        let head = Head::read(token)?;
        // One snapshot for the whole verification: `replace` may run meanwhile, and an index must
        // keep naming the same key.
        let keys = self.0.keys.load_full();
        let judged = self.judge(&keys, token, &head, dialects);
        let remotes = unknown(&keys, &head, dialects);
        if !matches!(judged, Err(Refused::Untrusted)) || remotes.is_empty() {
            return judged;
        }
        // One after the other. A token with an unknown key ID costs one fetch per set, and each set
        // limits how often it is fetched.
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
        let (mut foreign, mut refused) = (None, Refused::Untrusted);
        for (number, key) in keys.iter().enumerate() {
            let dialect = key.bounds.dialect;
            if !dialects.contains(&dialect)
                || foreign.is_some_and(|signed_for| signed_for != dialect)
            {
                continue;
            }
            match self.judge_by(number, key, token, head) {
                // Two issuers may share a key, but not across dialects.
                Err(Refused::Issuer) => foreign = Some(dialect),
                // A key of 0.x may have the same material: the signed type tells whose token it is.
                Err(Refused::Type) if dialect == Dialect::Mercure1 => refused = Refused::Type,
                Ok(_) if dialect == Dialect::Mercure0 && is_of_one(keys, token, head) => {
                    refused = Refused::Type;
                }
                Err(Refused::Untrusted) => {}
                decided => return decided,
            }
        }
        Err(if foreign.is_some() { Refused::Issuer } else { refused })
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
        // Keyed at random, so that no holder can choose a subject that collides with another's.
        let mut hasher = self.0.identities.build_hasher();
        match text("sub") {
            Some(subject) => (key, text("iss"), subject).hash(&mut hasher),
            // Without a subject, holders of two tokens cannot be recognised as the same.
            None => token.hash(&mut hasher),
        }
        hasher.finish()
    }
}

/// Whether a key of Mercure 1.0 has signed this access token. The rules of 0.x, which are weaker,
/// must not apply to it, although a key of 0.x has the same material.
fn is_of_one(keys: &[Key], token: &str, head: &Head) -> bool {
    let mut of_one = keys.iter().filter(|key| key.bounds.dialect == Dialect::Mercure1);
    of_one.any(|key| {
        let signed = key.find(head).and_then(|trusted| trusted.verify(token, head).ok());
        signed.is_some_and(|signed| key.bounds.check_type(&signed).is_ok())
    })
}

/// The sets under URLs that have no key for the token.
fn unknown(keys: &[Key], head: &Head, dialects: &[Dialect]) -> Vec<RemoteSet> {
    let asked = keys
        .iter()
        .filter(|key| dialects.contains(&key.bounds.dialect) && key.find(head).is_none());
    asked.filter_map(Key::remote).cloned().collect()
}
