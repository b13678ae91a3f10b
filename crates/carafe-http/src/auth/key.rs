//! A key, and what it is bound to.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::Algorithm::{self, HS256, HS384, HS512};
use jsonwebtoken::DecodingKey;

use crate::auth::bounds::Bounds;
use crate::auth::head::Head;
use crate::auth::jwk_set::JwkSet;
use crate::auth::public_key;
use crate::auth::remote_set::RemoteSet;
use crate::auth::trusted::Trusted;

/// The fewest bytes of a secret: as many as SHA-256 gives.
pub(crate) const SECRET_BYTES: usize = 32;

pub(crate) const HMAC: &[Algorithm] = &[HS256, HS384, HS512];

/// By which rules the tokens of a key are read. It follows from the key, never from a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Carafe's own: `publish` and `subscribe` are arrays of topics and patterns, and `exp` has to
    /// be there.
    #[default]
    Carafe,
    /// That of Mercure 0.x.
    Mercure0,
    /// That of Mercure 1.0.
    Mercure1,
}

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

/// FallbackReason a key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadKey {
    /// The secret could be guessed.
    #[error("the secret has fewer than {SECRET_BYTES} bytes: make one with `openssl rand -hex 32`")]
    ShortSecret,
    /// The text has no public key in PEM.
    #[error("there is no public key in it: give PEM that begins with -----BEGIN PUBLIC KEY-----")]
    NotPem,
    /// The text has no private key in PEM.
    #[error(
        "there is no private key in it: give PEM that is not encrypted, such as from `openssl genpkey`"
    )]
    NotPrivatePem,
    /// The key is of no kind that is known.
    #[error(
        "the key is of no kind that is known: use RSA of 2048 to 8192 bits, P-256, P-384 or Ed25519"
    )]
    UnknownKind,
    /// The text is no JWK Set.
    #[error("it is no JWK Set: give JSON such as {{\"keys\": [{{\"kty\": …}}]}}")]
    NotJwkSet,
    /// The JWK Set has too many keys.
    #[error("the JWK Set has more than 100 keys: leave out those that are not used any more")]
    TooManyKeys,
    /// There is nothing in the JWK Set to check signatures with.
    #[error(
        "the JWK Set has no key that checks signatures: give it RSA, P-256, P-384 or Ed25519 keys"
    )]
    NoKey,
    /// The URL of a JWK Set is not safe to trust.
    #[error(
        "it is no URL that can be trusted: use https, or http on this machine, without a user's name"
    )]
    BadUrl,
    /// There is nothing to check the certificate under a URL with.
    #[error(
        "this machine trusts no certificates: install them, such as the package ca-certificates"
    )]
    NoRoots,
    /// No algorithm is left.
    #[error(
        "none of the algorithms fits the key: HS… takes a secret, RS… and PS… RSA, ES… a P key, EdDSA Ed25519"
    )]
    NoAlgorithm,
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

/// All that need no secret.
const ASYMMETRIC: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];
