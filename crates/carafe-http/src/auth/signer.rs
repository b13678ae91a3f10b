//! Signs tokens.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, RsaKeyPair,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Serialize;

use crate::auth::key_rules::{BadKey, SECRET_BYTES};

/// Signs tokens for a hub that trusts the key.
///
/// ```
/// use std::time::{Duration, SystemTime, UNIX_EPOCH};
/// use carafe_http::auth::Signer;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let signer = Signer::secret(b"a secret of more than thirty-two bytes")?;
/// let expires = SystemTime::now() + Duration::from_secs(600);
/// let claims = serde_json::json!({
///     "sub": "anna",
///     "exp": expires.duration_since(UNIX_EPOCH)?.as_secs(),
///     "subscribe": ["users/anna/*"],
/// });
/// let token = signer.sign(&claims).ok_or("the claims are no JSON")?;
/// assert_eq!(token.split('.').count(), 3);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Signer {
    key: EncodingKey,
    head: Header,
}

impl Signer {
    /// Signs with HS256 and a secret of at least 32 bytes.
    ///
    /// # Errors
    /// When it is shorter.
    pub fn secret(secret: impl AsRef<[u8]>) -> Result<Self, BadKey> {
        let secret = secret.as_ref();
        if secret.len() < SECRET_BYTES {
            return Err(BadKey::ShortSecret);
        }
        Ok(Self::new(EncodingKey::from_secret(secret), Algorithm::HS256))
    }

    /// Signs with an unencrypted private key in PEM: with RS256, ES256, ES384 or EdDSA, as the
    /// key is.
    ///
    /// # Errors
    /// When there is none, or it is of an unknown kind.
    pub fn pem(text: impl AsRef<[u8]>) -> Result<Self, BadKey> {
        let key =
            PrivateKeyDer::from_pem_slice(text.as_ref()).map_err(|_| BadKey::NotPrivatePem)?;
        let der = key.secret_der();
        // The kinds are tried one after the other: their encodings exclude each other.
        let of_kind = rsa(der).or_else(|| ed25519(der)).or_else(|| {
            ec(&ECDSA_P256_SHA256_FIXED_SIGNING, Algorithm::ES256, der)
                .or_else(|| ec(&ECDSA_P384_SHA384_FIXED_SIGNING, Algorithm::ES384, der))
        });
        of_kind.ok_or(BadKey::UnknownKind)
    }

    fn new(key: EncodingKey, algorithm: Algorithm) -> Self {
        Self { key, head: Header::new(algorithm) }
    }

    /// Signs with this algorithm.
    ///
    /// # Errors
    /// When it does not fit the key.
    pub fn with_algorithm(mut self, algorithm: Algorithm) -> Result<Self, BadKey> {
        self.head.alg = algorithm;
        // The library checks whether a curve fits only when it signs.
        if self.sign(&()).is_some() { Ok(self) } else { Err(BadKey::NoAlgorithm) }
    }

    /// Names the key, for verifiers that have several.
    pub fn with_key_id(mut self, id: impl Into<String>) -> Self {
        self.head.kid = Some(id.into());
        self
    }

    /// Sets the `typ`; by default `JWT`.
    pub fn with_type(mut self, token_type: impl Into<String>) -> Self {
        self.head.typ = Some(token_type.into());
        self
    }

    /// A token with these claims; `None` if they cannot be serialized.
    #[must_use]
    pub fn sign(&self, claims: &impl Serialize) -> Option<String> {
        encode(&self.head, claims, &self.key).ok()
    }
}

fn rsa(der: &[u8]) -> Option<Signer> {
    // The library for tokens takes RSA keys in PKCS #1 only.
    let pkcs1 = if RsaKeyPair::from_pkcs8(der).is_ok() { inside_pkcs8(der)? } else { der };
    RsaKeyPair::from_der(pkcs1).ok()?;
    Some(Signer::new(EncodingKey::from_rsa_der(pkcs1), Algorithm::RS256))
}

fn ed25519(der: &[u8]) -> Option<Signer> {
    Ed25519KeyPair::from_pkcs8(der).ok()?;
    Some(Signer::new(EncodingKey::from_ed_der(der), Algorithm::EdDSA))
}

fn ec(curve: &'static EcdsaSigningAlgorithm, algorithm: Algorithm, der: &[u8]) -> Option<Signer> {
    let pkcs8 = EcdsaKeyPair::from_private_key_der(curve, der).ok()?.to_pkcs8v1().ok()?;
    Some(Signer::new(EncodingKey::from_ec_der(pkcs8.as_ref()), algorithm))
}

/// The key within PKCS #8 (RFC 5208, 5): a version, an algorithm, and the key in the format of
/// its own standard.
fn inside_pkcs8(der: &[u8]) -> Option<&[u8]> {
    let (info, _) = element(der)?;
    let (_version, rest) = element(info)?;
    let (_algorithm, rest) = element(rest)?;
    element(rest).map(|(key, _)| key)
}

/// The content of the first DER element, and what follows the element.
fn element(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        // X.690, 8.1.3: below 128 the byte is the length; above, its low bits count the bytes of
        // the length.
        0..0x80 => (usize::from(first), rest),
        _ => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = bytes.iter().try_fold(0_usize, |sum, byte| {
                sum.checked_mul(256).map(|sum| sum + usize::from(*byte))
            })?;
            (length, rest)
        }
    };
    rest.split_at_checked(length)
}
