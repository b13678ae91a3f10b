//! The keys of TLS 1.3 connections, in little memory.
//!
//! An open stream sends a record now and then, and there may be very many. The ciphers of the
//! provider are prepared for many records: they take more than 600 bytes for each direction. So
//! only the keys are kept here, 56 bytes for each direction, and a cipher is prepared for each
//! record. That takes some tenths of a microsecond, a small part of the system call that writes the
//! record. rustls decides all else: which key is used for which record, and when it is replaced.

use std::sync::LazyLock;

use aws_lc_rs::aead::{self, Aad, Algorithm, LessSafeKey, UnboundKey};
use aws_lc_rs::error::Unspecified;
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, MessageDecrypter, MessageEncrypter,
    Nonce, OutboundOpaqueMessage, OutboundPlainMessage, PrefixedPayload, Tls13AeadAlgorithm,
    UnsupportedOperationError, make_tls13_aad,
};
use rustls::crypto::{self, CryptoProvider};
use rustls::{
    CipherSuite, CipherSuiteCommon, ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion,
    SupportedCipherSuite, Tls13CipherSuite,
};

/// The default provider, with compact keys for the cipher suites of TLS 1.3.
pub(crate) fn provider() -> CryptoProvider {
    let mut provider = crypto::aws_lc_rs::default_provider();
    for suite in &mut provider.cipher_suites {
        if let Some(compact) = SUITES.iter().find(|compact| compact.common.suite == suite.suite()) {
            *suite = SupportedCipherSuite::Tls13(compact);
        }
    }
    provider
}

static SUITES: LazyLock<Vec<Tls13CipherSuite>> = LazyLock::new(|| {
    let suites =
        crypto::aws_lc_rs::DEFAULT_CIPHER_SUITES.iter().filter_map(SupportedCipherSuite::tls13);
    suites.filter_map(compact).collect()
});

fn compact(suite: &'static Tls13CipherSuite) -> Option<Tls13CipherSuite> {
    let common = &suite.common;
    let aead_alg: &Compact = match common.suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => &Compact(&aead::AES_128_GCM),
        CipherSuite::TLS13_AES_256_GCM_SHA384 => &Compact(&aead::AES_256_GCM),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => &Compact(&aead::CHACHA20_POLY1305),
        _ => return None,
    };
    let CipherSuiteCommon { suite: name, hash_provider, confidentiality_limit } = *common;
    Some(Tls13CipherSuite {
        common: CipherSuiteCommon { suite: name, hash_provider, confidentiality_limit },
        hkdf_provider: suite.hkdf_provider,
        aead_alg,
        quic: None,
    })
}

/// An AEAD whose keys are kept as they are.
struct Compact(&'static Algorithm);

impl Tls13AeadAlgorithm for Compact {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        Box::new(Keys { algorithm: self.0, key, iv })
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        Box::new(Keys { algorithm: self.0, key, iv })
    }

    fn key_len(&self) -> usize {
        self.0.key_len()
    }

    /// Secrets do not leave the connection.
    fn extract_keys(
        &self,
        _: AeadKey,
        _: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Err(UnsupportedOperationError)
    }
}

/// The key and the initialisation vector of one direction. Dropping the key overwrites it, as does
/// dropping a cipher.
struct Keys {
    algorithm: &'static Algorithm,
    key: AeadKey,
    iv: Iv,
}

impl Keys {
    /// The cipher and the nonce for the record with this number.
    fn cipher(&self, sequence: u64) -> Result<(LessSafeKey, aead::Nonce), Unspecified> {
        let key = UnboundKey::new(self.algorithm, self.key.as_ref())?;
        let nonce = aead::Nonce::assume_unique_for_key(Nonce::new(&self.iv, sequence).0);
        Ok((LessSafeKey::new(key), nonce))
    }
}

impl MessageEncrypter for Keys {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        sequence: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        let length = self.encrypted_payload_len(message.payload.len());
        let mut payload = PrefixedPayload::with_capacity(length);
        payload.extend_from_chunks(&message.payload);
        payload.extend_from_slice(&message.typ.to_array());
        let sealed = self.cipher(sequence).and_then(|(cipher, nonce)| {
            cipher.seal_in_place_append_tag(nonce, Aad::from(make_tls13_aad(length)), &mut payload)
        });
        sealed.map_err(|_| Error::EncryptError)?;
        // RFC 8446, 5.2: records name TLS 1.2, whatever they contain.
        let version = ProtocolVersion::TLSv1_2;
        Ok(OutboundOpaqueMessage::new(ContentType::ApplicationData, version, payload))
    }

    fn encrypted_payload_len(&self, length: usize) -> usize {
        length + size_of::<u8>() + self.algorithm.tag_len()
    }
}

impl MessageDecrypter for Keys {
    fn decrypt<'a>(
        &mut self,
        mut message: InboundOpaqueMessage<'a>,
        sequence: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        // It is a part of the additional data (RFC 8446, 5.2), which rustls takes for granted.
        if message.typ != ContentType::ApplicationData {
            return Err(Error::DecryptError);
        }
        let payload = &mut message.payload;
        let aad = Aad::from(make_tls13_aad(payload.len()));
        let opened = self.cipher(sequence).and_then(|(cipher, nonce)| {
            cipher.open_in_place(nonce, aad, payload).map(|data| data.len())
        });
        let length = opened.map_err(|_| Error::DecryptError)?;
        payload.truncate(length);
        message.into_tls13_unpadded_message()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_suites_of_tls_1_3_keep_their_keys_and_no_cipher() {
        let provider = provider();
        let suites: Vec<_> =
            provider.cipher_suites.iter().filter_map(SupportedCipherSuite::tls13).collect();
        assert_eq!(suites.len(), 3);
        for suite in suites {
            let key_len = suite.aead_alg.key_len();
            assert!(matches!(key_len, 16 | 32), "{:?}", suite.common.suite);
            let extracted = suite.aead_alg.extract_keys([1; 32].into(), [2; 12].into());
            assert!(extracted.is_err(), "{:?} is of the library", suite.common.suite);
        }
        assert!(size_of::<Keys>() <= 64, "{}", size_of::<Keys>());
    }
}
