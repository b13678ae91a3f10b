//! JWK Sets (RFC 7517).

use std::sync::Arc;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use crate::auth::key_rules::{BadKey, HMAC, RSA};
use crate::auth::trusted::{Head, Trusted};

/// The most keys of a set.
const KEYS: usize = 100;

/// The keys of one issuer.
#[derive(Clone, Debug)]
pub(crate) struct JwkSet(Vec<Arc<Trusted>>);

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl JwkSet {
    /// Takes the keys that check signatures. Keys for other uses and of unknown kinds are
    /// skipped (RFC 7517, 5).
    pub(crate) fn parse(text: &[u8]) -> Result<Self, BadKey> {
        let document: Document = serde_json::from_slice(text).map_err(|_| BadKey::NotJwkSet)?;
        if document.keys.len() > KEYS {
            return Err(BadKey::TooManyKeys);
        }
        let keys: Vec<_> = document.keys.into_iter().filter_map(trusted).map(Arc::new).collect();
        if keys.is_empty() { Err(BadKey::NoKey) } else { Ok(Self(keys)) }
    }

    /// Removes secrets: a set that is fetched from a URL cannot keep them.
    pub(crate) fn without_secrets(mut self) -> Result<Self, BadKey> {
        self.0.retain(|key| !key.is_secret());
        if self.0.is_empty() { Err(BadKey::NoKey) } else { Ok(self) }
    }

    /// The key that the token names, or the only key that fits if it names none. It is never
    /// more than one, so a token costs one signature check for each set.
    pub(crate) fn find(&self, head: &Head) -> Option<&Arc<Trusted>> {
        let mut fit = self.0.iter().filter(|key| key.algorithms.contains(&head.algorithm));
        match &head.key_id {
            // Two keys may have the same ID if their kinds differ (RFC 7517, 4.5). `fit` has only
            // keys of the token's algorithm.
            Some(id) => fit.find(|key| key.key_id.as_ref() == Some(id)),
            // Trying all keys would let a token without an ID cost as many checks as the set has
            // keys.
            None => fit.next().filter(|_| fit.next().is_none()),
        }
    }
}

fn trusted(key: Value) -> Option<Trusted> {
    let key: Jwk = serde_json::from_value(key).ok()?;
    if !checks_signatures(&key) {
        return None;
    }
    let mut algorithms = fitting(&key.algorithm)?.to_vec();
    if let Some(only) = key.common.key_algorithm {
        let only = Algorithm::try_from(only).ok()?;
        // Empty if the algorithm does not fit the key. Such a key is kept, and never found.
        algorithms.retain(|algorithm| *algorithm == only);
    }
    let mut trusted = Trusted::new(DecodingKey::from_jwk(&key).ok()?, algorithms);
    trusted.key_id = key.common.key_id;
    trusted.is_strong().then_some(trusted)
}

fn checks_signatures(key: &Jwk) -> bool {
    let for_signatures = |purpose: &PublicKeyUse| *purpose == PublicKeyUse::Signature;
    let verifies = |operations: &Vec<KeyOperations>| operations.contains(&KeyOperations::Verify);
    key.common.public_key_use.as_ref().is_none_or(for_signatures)
        && key.common.key_operations.as_ref().is_none_or(verifies)
}

fn fitting(key: &AlgorithmParameters) -> Option<&'static [Algorithm]> {
    match key {
        AlgorithmParameters::RSA(_) => Some(RSA),
        AlgorithmParameters::OctetKey(_) => Some(HMAC),
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => Some(&[Algorithm::ES256]),
            EllipticCurve::P384 => Some(&[Algorithm::ES384]),
            _ => None,
        },
        AlgorithmParameters::OctetKeyPair(key) => {
            (key.curve == EllipticCurve::Ed25519).then_some(&[Algorithm::EdDSA])
        }
        _ => None,
    }
}
