//! Public keys in PEM.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, VerificationAlgorithm,
};
use jsonwebtoken::Algorithm::{ES256, ES384, EdDSA};
use jsonwebtoken::DecodingKey;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;

use crate::auth::key_rules::{BadKey, RSA, RSA_BYTES};
use crate::auth::trusted::Trusted;

/// Parses a public key. Its kind decides which algorithms fit.
pub(crate) fn parse(pem: &[u8]) -> Result<Trusted, BadKey> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| BadKey::NotPem)?;
    kind_of(&der).ok_or(BadKey::UnknownKind)
}

fn kind_of(der: &[u8]) -> Option<Trusted> {
    let is = |kind: &'static dyn VerificationAlgorithm| ParsedPublicKey::new(kind, der).is_ok();
    // The label of the PEM is the same for all kinds, so the kind is found by parsing.
    if is(&RSA_PKCS1_2048_8192_SHA256) {
        return is_strong_rsa(der).then(|| Trusted::new(DecodingKey::from_rsa_der(der), RSA));
    }
    if is(&ECDSA_P256_SHA256_FIXED) {
        return Some(Trusted::new(DecodingKey::from_ec_der(der), [ES256]));
    }
    if is(&ECDSA_P384_SHA384_FIXED) {
        return Some(Trusted::new(DecodingKey::from_ec_der(der), [ES384]));
    }
    is(&ED25519).then(|| Trusted::new(DecodingKey::from_ed_der(der), [EdDSA]))
}

fn is_strong_rsa(der: &[u8]) -> bool {
    let key = aws_lc_rs::rsa::PublicKey::from_der(der);
    key.is_ok_and(|key| RSA_BYTES.contains(&RsaPublicKeyComponents::<Vec<u8>>::from(&key).n.len()))
}
