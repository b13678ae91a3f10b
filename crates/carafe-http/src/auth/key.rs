//! A key, and what it is bound to.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::Algorithm::{self, HS256};
use jsonwebtoken::DecodingKey;

use crate::auth::bounds::Bounds;
use crate::auth::jwk_set::JwkSet;
use crate::auth::key_rules::{ASYMMETRIC, BadKey, HMAC, SECRET_BYTES};
use crate::auth::public_key;
use crate::auth::remote_set::RemoteSet;
use crate::auth::trusted::{Head, Trusted};
use crate::auth::verified::Dialect;

/// A key, or an issuer's set of keys, and what tokens must say that it signs.
#[derive(Clone, Debug)]
#[must_use]
pub struct Key {
    material: Material,
    /// Those that tokens may be signed with, as far as they fit the material.
    algorithms: Vec<Algorithm>,
    pub(crate) bounds: Bounds,
}

#[derive(Clone, Debug)]
enum Material {
    One(Arc<Trusted>),
    Set(JwkSet),
    Remote(RemoteSet),
}

impl Key {
    /// A secret of at least 32 bytes, shared with who makes the tokens. It takes HS256.
    ///
    /// # Errors
    /// When it is shorter.
    pub fn secret(secret: &[u8]) -> Result<Self, BadKey> {
        if secret.len() < SECRET_BYTES {
            return Err(BadKey::ShortSecret);
        }
        let trusted = Trusted::new(DecodingKey::from_secret(secret), HMAC);
        Ok(Self::new(Material::One(Arc::new(trusted)), [HS256]))
    }

    /// A public key in PEM. It takes all algorithms that fit it.
    ///
    /// # Errors
    /// When there is none, or of no kind that is known.
    pub fn pem(text: &[u8]) -> Result<Self, BadKey> {
        let trusted = public_key::parse(text)?;
        let algorithms = trusted.algorithms.clone();
        Ok(Self::new(Material::One(Arc::new(trusted)), algorithms))
    }

    /// A JWK Set. It takes all algorithms of public keys; secrets in it only if
    /// [`with_algorithms`](Self::with_algorithms) names theirs.
    ///
    /// # Errors
    /// When it is none, or has no key that could be used.
    pub fn jwk_set(text: &[u8]) -> Result<Self, BadKey> {
        Ok(Self::new(Material::Set(JwkSet::parse(text)?), ASYMMETRIC))
    }

    /// The JWK Set that an issuer publishes under this URL, which is `https`, or `http` on this
    /// machine. It takes all algorithms of public keys. It is fetched by
    /// [`Keys::refresh`](crate::auth::Keys::refresh) when it is older than `refresh`, and when a
    /// token names a key that is not in it, but at most once in 30 s, or in `refresh` if that is
    /// shorter. When nothing good comes, what was there before stays in use.
    ///
    /// # Errors
    /// When the URL is another, or this machine trusts no certificates.
    pub fn jwk_set_at(url: &str, refresh: Duration) -> Result<Self, BadKey> {
        Ok(Self::new(Material::Remote(RemoteSet::new(url, refresh)?), ASYMMETRIC))
    }

    fn new(material: Material, algorithms: impl Into<Vec<Algorithm>>) -> Self {
        Self { material, algorithms: algorithms.into(), bounds: Bounds::default() }
    }

    /// Takes only tokens of these algorithms.
    ///
    /// # Errors
    /// When none of them fits the key.
    pub fn with_algorithms(mut self, algorithms: &[Algorithm]) -> Result<Self, BadKey> {
        let fits = match &self.material {
            Material::One(trusted) => algorithms.iter().any(|one| trusted.algorithms.contains(one)),
            Material::Set(_) | Material::Remote(_) => !algorithms.is_empty(),
        };
        self.algorithms = algorithms.to_vec();
        if fits { Ok(self) } else { Err(BadKey::NoAlgorithm) }
    }

    /// Takes only tokens that say this issuer in `iss`.
    pub fn with_issuer(mut self, issuer: impl Into<String>) -> Self {
        self.bounds.issuer = Some(issuer.into());
        self
    }

    /// Takes only tokens that have one of these in `aud`. Without any, `aud` may say what it likes.
    pub fn with_audience(mut self, audience: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.bounds.audience = audience.into_iter().map(Into::into).collect();
        self
    }

    /// Sets by which rules its tokens are read; [`Dialect::Carafe`].
    pub fn with_dialect(mut self, dialect: Dialect) -> Self {
        self.bounds.dialect = dialect;
        self
    }

    /// Its set under a URL, where it has one.
    pub(crate) fn remote(&self) -> Option<&RemoteSet> {
        match &self.material {
            Material::Remote(remote) => Some(remote),
            Material::One(_) | Material::Set(_) => None,
        }
    }

    /// Goes on with a set under a URL that one of these has already.
    pub(crate) fn adopt(&mut self, others: &[Self]) {
        if let Material::Remote(remote) = &mut self.material {
            let mut known = others.iter().filter_map(Self::remote);
            if let Some(same) = known.find(|known| known.is_same(remote)) {
                *remote = same.clone();
            }
        }
    }

    /// The one key that could have signed the token.
    pub(crate) fn find(&self, head: &Head) -> Option<Arc<Trusted>> {
        if !self.algorithms.contains(&head.algorithm) {
            return None;
        }
        match &self.material {
            Material::One(trusted) => Some(Arc::clone(trusted)),
            Material::Set(set) => set.find(head).cloned(),
            Material::Remote(remote) => remote.now()?.find(head).cloned(),
        }
    }
}
