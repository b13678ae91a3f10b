//! One trusted key, and the verification of a signature with it.

use std::fmt;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, TokenData, Validation, decode,
    decode_header,
};
use serde_json::{Map, Value};

use crate::auth::key_rules::{RSA_BYTES, SECRET_BYTES};
use crate::auth::refused::{Refused, TOKEN_BYTES};

/// The header of a token: its algorithm and key ID. It is not verified, and only selects a key.
pub(crate) struct Head {
    pub(crate) algorithm: Algorithm,
    pub(crate) key_id: Option<String>,
}

impl Head {
    pub(crate) fn read(token: &str) -> Result<Self, Refused> {
        // Before anything is decoded: the cost of a token is bounded by its length.
        if token.len() > TOKEN_BYTES {
            return Err(Refused::TooLong);
        }
        let head = decode_header(token).map_err(|_| Refused::Malformed)?;
        // Critical extensions that are not understood must be rejected (RFC 7515, 4.1.11).
        if head.crit.is_some() {
            return Err(Refused::Critical);
        }
        Ok(Self { algorithm: head.alg, key_id: head.kid })
    }
}

/// A secret or a public key, and the algorithms that fit it.
#[derive(Clone)]
pub(crate) struct Trusted {
    pub(crate) key_id: Option<String>,
    pub(crate) algorithms: Vec<Algorithm>,
    material: DecodingKey,
}

/// The content of a token whose signature is valid.
pub(crate) struct Signed {
    pub(crate) token_type: Option<String>,
    pub(crate) claims: Map<String, Value>,
}

impl Trusted {
    pub(crate) fn new(material: DecodingKey, algorithms: impl Into<Vec<Algorithm>>) -> Self {
        Self { key_id: None, algorithms: algorithms.into(), material }
    }

    pub(crate) fn is_secret(&self) -> bool {
        self.material.family() == AlgorithmFamily::Hmac
    }

    /// Whether the key is long enough not to be guessed or computed.
    pub(crate) fn is_strong(&self) -> bool {
        match self.material.kind() {
            DecodingKeyKind::SecretOrDer(bytes) => !self.is_secret() || bytes.len() >= SECRET_BYTES,
            DecodingKeyKind::RsaModulusExponent { n, .. } => RSA_BYTES.contains(&n.len()),
        }
    }

    /// Checks the signature, and only then parses the claims.
    pub(crate) fn verify(&self, token: &str, head: &Head) -> Result<Signed, Refused> {
        // The key decides which algorithms are accepted, never the token (RFC 8725, 3.1): with
        // HS256 and a public key as its secret, anybody could sign.
        if !self.algorithms.contains(&head.algorithm) {
            return Err(Refused::Untrusted);
        }
        let TokenData { header, claims } =
            decode(token, &self.material, &signature_only(head.algorithm)).map_err(|error| {
                match error.kind() {
                    ErrorKind::Json(_) | ErrorKind::Utf8(_) | ErrorKind::Base64(_) => {
                        Refused::Malformed
                    }
                    _ => Refused::Untrusted,
                }
            })?;
        Ok(Signed { token_type: header.typ, claims })
    }
}

/// The library checks only the signature. [`Bounds`](crate::auth::bounds::Bounds) checks the
/// claims, and is stricter.
fn signature_only(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    // The library's default requires `exp`, which tokens of Mercure 0.x need not have.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation
}

impl fmt::Debug for Trusted {
    /// Without the key material: a log must not have secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key_id, algorithms, material: _ } = self;
        f.debug_struct("Trusted")
            .field("key_id", key_id)
            .field("algorithms", algorithms)
            .finish_non_exhaustive()
    }
}
