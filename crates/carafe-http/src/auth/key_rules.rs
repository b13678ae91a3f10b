//! Which keys are accepted: their sizes, their algorithms, and the error for all others.

use std::ops::RangeInclusive;

use jsonwebtoken::Algorithm::{
    self, ES256, ES384, EdDSA, HS256, HS384, HS512, PS256, PS384, PS512, RS256, RS384, RS512,
};

/// The minimum length of a secret: the output length of SHA-256 (RFC 7518, 3.2).
pub(crate) const SECRET_BYTES: usize = 32;

/// The lengths of an RSA modulus: 2048 to 8192 bits.
pub(crate) const RSA_BYTES: RangeInclusive<usize> = 256..=1024;

pub(crate) const HMAC: &[Algorithm] = &[HS256, HS384, HS512];
pub(crate) const RSA: &[Algorithm] = &[RS256, RS384, RS512, PS256, PS384, PS512];

/// All algorithms of public keys.
pub(crate) const ASYMMETRIC: &[Algorithm] =
    &[RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA];

/// Why a key cannot be used.
///
/// ```
/// use carafe_http::auth::{BadKey, Key};
///
/// assert_eq!(Key::secret(b"too short").err(), Some(BadKey::ShortSecret));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadKey {
    /// The secret is short enough to be guessed.
    #[error("the secret has fewer than {SECRET_BYTES} bytes: make one with `openssl rand -hex 32`")]
    ShortSecret,
    /// The text contains no public key in PEM.
    #[error("it contains no public key: give PEM that begins with -----BEGIN PUBLIC KEY-----")]
    NotPem,
    /// The text contains no private key in PEM.
    #[error(
        "it contains no private key: give PEM that is not encrypted, such as from `openssl \
         genpkey`"
    )]
    NotPrivatePem,
    /// The key is of an unknown kind, or too short.
    #[error("the key is of an unknown kind: use RSA of 2048 to 8192 bits, P-256, P-384 or Ed25519")]
    UnknownKind,
    /// The text is not a JWK Set.
    #[error("it is not a JWK Set: give JSON such as {{\"keys\": [{{\"kty\": …}}]}}")]
    NotJwkSet,
    /// The JWK Set has too many keys.
    #[error("the JWK Set has more than 100 keys: remove those that are no longer used")]
    TooManyKeys,
    /// The JWK Set has no key that can check signatures.
    #[error(
        "the JWK Set has no key that checks signatures: give it RSA, P-256, P-384 or Ed25519 keys"
    )]
    NoKey,
    /// The URL of a JWK Set does not authenticate its server.
    #[error("the URL cannot be trusted: use https, or http on this machine, without a user name")]
    BadUrl,
    /// The system has no root certificates to check an `https` server with.
    #[error(
        "this machine trusts no certificates: install them, such as the package ca-certificates"
    )]
    NoRoots,
    /// No algorithm is left.
    #[error(
        "none of the algorithms fits the key: HS… takes a secret, RS… and PS… RSA, ES… a P key, \
         EdDSA Ed25519"
    )]
    NoAlgorithm,
}
