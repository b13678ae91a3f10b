//! A key or key set, and what it requires of tokens.

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

/// A key, or an issuer's set of keys, and the requirements on tokens that it signs.
///
/// ```
/// use carafe_http::auth::{Algorithm, Key};
///
/// // The login service signs with this secret, and only with this algorithm.
/// let key = Key::secret(b"a secret of more than thirty-two bytes")?
///     .with_algorithms(&[Algorithm::HS512])?
///     .with_issuer("https://login.example.com")
///     .with_audience(["https://hub.example.com"]);
/// # let _ = key;
/// # Ok::<(), carafe_http::auth::BadKey>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Key {
    material: Material,
    /// The algorithms that tokens may use, as far as they fit the key.
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
    /// A secret of at least 32 bytes, shared with the issuer of the tokens. It accepts HS256.
    ///
    /// # Errors
    /// When it is shorter.
    pub fn secret(secret: impl AsRef<[u8]>) -> Result<Self, BadKey> {
        let secret = secret.as_ref();
        if secret.len() < SECRET_BYTES {
            return Err(BadKey::ShortSecret);
        }
        let trusted = Trusted::new(DecodingKey::from_secret(secret), HMAC);
        Ok(Self::new(Material::One(Arc::new(trusted)), [HS256]))
    }

    /// A public key in PEM. It accepts all algorithms that fit it.
    ///
    /// # Errors
    /// When there is none, or it is of an unknown kind.
    pub fn pem(text: impl AsRef<[u8]>) -> Result<Self, BadKey> {
        let trusted = public_key::parse(text.as_ref())?;
        let algorithms = trusted.algorithms.clone();
        Ok(Self::new(Material::One(Arc::new(trusted)), algorithms))
    }

    /// A JWK Set. It accepts all algorithms of public keys, and those of secrets only if
    /// [`with_algorithms`](Self::with_algorithms) names them.
    ///
    /// # Errors
    /// When it is malformed, or has no key that can be used.
    pub fn jwk_set(text: impl AsRef<[u8]>) -> Result<Self, BadKey> {
        Ok(Self::new(Material::Set(JwkSet::parse(text.as_ref())?), ASYMMETRIC))
    }

    /// The JWK Set that an issuer publishes under this URL: `https`, or `http` on this machine.
    /// It accepts all algorithms of public keys.
    ///
    /// [`Keys::refresh`](crate::auth::Keys::refresh) fetches it when it is older than `refresh`. A
    /// token that names an unknown key fetches it, too, but at most once in 30 s, or in `refresh`
    /// if that is shorter. If fetching fails, the previous set stays in use.
    ///
    /// # Errors
    /// When the URL is another one, or this machine trusts no certificates.
    pub fn jwk_set_at(url: &str, refresh: Duration) -> Result<Self, BadKey> {
        Ok(Self::new(Material::Remote(RemoteSet::new(url, refresh)?), ASYMMETRIC))
    }

    fn new(material: Material, algorithms: impl Into<Vec<Algorithm>>) -> Self {
        Self { material, algorithms: algorithms.into(), bounds: Bounds::default() }
    }

    /// Accepts only these algorithms.
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

    /// Accepts only tokens with this issuer in `iss`.
    pub fn with_issuer(mut self, issuer: impl Into<String>) -> Self {
        self.bounds.issuer = Some(issuer.into());
        self
    }

    /// Accepts only tokens with one of these in `aud`. By default, `aud` is not checked.
    pub fn with_audience(mut self, audience: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.bounds.audience = audience.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the rules by which its tokens are read; by default [`Dialect::Carafe`].
    pub fn with_dialect(mut self, dialect: Dialect) -> Self {
        self.bounds.dialect = dialect;
        self
    }

    /// The set under a URL, if this is one.
    pub(crate) fn remote(&self) -> Option<&RemoteSet> {
        match &self.material {
            Material::Remote(remote) => Some(remote),
            Material::One(_) | Material::Set(_) => None,
        }
    }

    /// Continues to use the set of another key under the same URL, which may be fetched
    /// already.
    pub(crate) fn adopt(&mut self, others: &[Self]) {
        if let Material::Remote(remote) = &mut self.material {
            let mut known = others.iter().filter_map(Self::remote);
            if let Some(same) = known.find(|known| known.is_same(remote)) {
                *remote = same.clone();
            }
        }
    }

    /// The only key that could have signed the token.
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
