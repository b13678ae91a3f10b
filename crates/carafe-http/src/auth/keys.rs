//! The keys that a hub trusts.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use serde_json::{Map, Value};

use crate::auth::head::Head;
use crate::auth::{Dialect, Key, Refused, Verified};

/// The keys that a hub trusts. All clones of it are one: keys that are replaced in one are replaced in all.
#[derive(Clone, Debug, Default)]
pub struct Keys(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    keys: ArcSwap<Vec<Key>>,
    identities: RandomState,
}

impl Keys {
    /// The most bytes that a token may have.
    pub const TOKEN_BYTES: usize = 8 << 10;

    /// These keys. Without any, tokens are not looked at, and all who ask are strangers.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = Key>) -> Self {
        let new = Self::default();
        new.replace(keys);
        new
    }

    /// Trusts these keys from now on, and no others. Streams that are open stay open until their tokens expire.
    pub fn replace(&self, keys: impl IntoIterator<Item = Key>) {
        self.0.keys.store(Arc::new(keys.into_iter().collect()));
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

    /// Takes a token that a key of one of these dialects has signed. The signature is checked before any claim is looked
    /// at, and the first key that has signed it, for the issuer it names, decides.
    ///
    /// # Errors
    /// When it is not to be taken.
    pub async fn verify(&self, token: &str, dialects: &[Dialect]) -> Result<Verified, Refused> {
        let head = Head::read(token)?;
        let keys = self.0.keys.load_full();
        let mut refused = Refused::Untrusted;
        for (number, key) in keys.iter().enumerate().filter(|(_, key)| dialects.contains(&key.bounds.dialect))
        {
            let Some(trusted) = key.find(&head) else { continue };
            let signed = match trusted.verify(token, &head) {
                Ok(signed) => signed,
                Err(Refused::Untrusted) => continue,
                Err(other) => return Err(other),
            };
            match key.bounds.check(&signed, SystemTime::now()) {
                Ok(expires) => {
                    let identity = self.identity(number, &signed.claims, token);
                    let (claims, dialect) = (Value::Object(signed.claims), key.bounds.dialect);
                    return Ok(Verified { claims, dialect, expires, identity });
                }
                // Two issuers may share a key.
                Err(Refused::Issuer) => refused = Refused::Issuer,
                Err(other) => return Err(other),
            }
        }
        Err(refused)
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
