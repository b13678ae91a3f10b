//! TLS connections with the client of rustls, in memory.

use std::io::{Read, Write};
use std::sync::Arc;

use carafe_fanout::RecordLayer;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::cipher::{OutboundChunks, OutboundPlainMessage};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CipherSuite, CipherSuiteCommon, ClientConfig, ClientConnection, ConnectionTrafficSecrets,
    ContentType, DigitallySignedStruct, Error, ProtocolVersion, ServerConfig, SignatureScheme,
    SupportedCipherSuite, Tls13CipherSuite,
};

use crate::server::tls_connection::{Peer, TlsConnection};
use crate::server::tls_keys;

/// Checks signatures, but not whose the certificate is.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

pub(crate) fn server_config(provider: CryptoProvider) -> Arc<ServerConfig> {
    let made = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key);
    Arc::new(config.unwrap())
}

/// A client that offers this suite only.
pub(crate) fn client(suite: CipherSuite) -> ClientConnection {
    let mut provider = default_provider();
    provider.cipher_suites.retain(|offered| offered.suite() == suite);
    let verifier = AnyCertificate(provider.signature_verification_algorithms);
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap()
}

/// A client and a server that bytes pass between in parts of this size.
struct Pair {
    client: ClientConnection,
    server: TlsConnection,
    part: usize,
}

impl Pair {
    fn new(suite: CipherSuite, part: usize) -> Self {
        Self::with(server_config(tls_keys::provider()), suite, part)
    }

    fn with(config: Arc<ServerConfig>, suite: CipherSuite, part: usize) -> Self {
        let server = TlsConnection::new(config).unwrap();
        let mut pair = Self { client: client(suite), server, part };
        while pair.server.is_handshaking() {
            assert_eq!(pair.pass_to_server(), Ok((Peer::Open, Vec::new())));
            let mut answers = Vec::new();
            pair.server.take_answers(&mut answers);
            assert_eq!(pair.pass_to_client(&answers), b"");
        }
        pair
    }

    /// Passes what the client has to send; returns the data that the server finds.
    fn pass_to_server(&mut self) -> Result<(Peer, Vec<u8>), Error> {
        let (mut bytes, mut data, mut peer) = (Vec::new(), Vec::new(), Peer::Open);
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).unwrap();
        }
        for part in bytes.chunks(self.part) {
            peer = self.server.receive(part, &mut data)?;
        }
        Ok((peer, data))
    }

    /// Passes records to the client; returns the data in them.
    fn pass_to_client(&mut self, mut records: &[u8]) -> Vec<u8> {
        let mut data = Vec::new();
        while !records.is_empty() {
            let part = records.len().min(self.part);
            assert_eq!(self.client.read_tls(&mut &records[..part]).unwrap(), part);
            records = &records[part..];
            let available = self.client.process_new_packets().unwrap();
            data.resize(data.len() + available.plaintext_bytes_to_read(), 0);
            let from = data.len() - available.plaintext_bytes_to_read();
            self.client.reader().read_exact(&mut data[from..]).unwrap();
        }
        data
    }

    /// The server sends this, and the client receives it.
    #[track_caller]
    fn tell(&mut self, data: &[u8]) {
        let mut records = Vec::new();
        self.server.encrypt(data, &mut records).unwrap();
        assert!(self.pass_to_client(&records) == data);
    }

    /// A shard receives what the client has to send; whether the stream goes on.
    fn pass_to_shard(&mut self) -> bool {
        let mut bytes = Vec::new();
        self.client.write_tls(&mut bytes).unwrap();
        let mut parts = bytes.chunks(self.part);
        parts.all(|part| RecordLayer::receive(&mut self.server, part))
    }

    fn close(&mut self) -> Vec<u8> {
        let mut records = Vec::new();
        self.server.close(&mut records);
        records
    }
}

pub(crate) const SUITES: [CipherSuite; 4] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
];

#[test]
fn a_client_may_split_its_bytes_anywhere_with_every_suite() {
    for (suite, part) in SUITES.into_iter().flat_map(|suite| [(suite, 1), (suite, 3000)]) {
        let mut pair = Pair::new(suite, part);
        assert_eq!(pair.server.is_tls_1_3(), suite != SUITES[3]);
        pair.client.writer().write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let received = pair.pass_to_server();
        assert_eq!(received, Ok((Peer::Open, b"GET / HTTP/1.1\r\n\r\n".to_vec())), "{suite:?}");
        pair.tell(b"HTTP/1.1 200 OK\r\n\r\n");
        pair.tell(&vec![7; 16 << 10]);
        pair.client.send_close_notify();
        assert_eq!(pair.pass_to_server(), Ok((Peer::Closed, Vec::new())), "{suite:?}");
        pair.tell(b"the rest");
        let closing = pair.close();
        assert!(!closing.is_empty());
        assert_eq!(pair.pass_to_client(&closing), b"");
        assert!(pair.client.process_new_packets().unwrap().peer_has_closed(), "{suite:?}");
    }
}

#[test]
fn a_change_of_keys_is_answered_before_the_next_data() {
    for suite in &SUITES[..3] {
        let mut pair = Pair::new(*suite, 1);
        for data in [b"one", b"two", b"six"] {
            pair.client.refresh_traffic_keys().unwrap();
            assert!(pair.pass_to_shard(), "{suite:?}");
            let mut records = Vec::new();
            pair.server.encrypt(data, &mut records).unwrap();
            assert!(records.len() > 2 * (data.len() + 22), "a KeyUpdate is before the data");
            assert_eq!(pair.pass_to_client(&records), data);
        }
    }
}

#[test]
fn a_change_of_keys_may_be_split_anywhere_and_delayed_while_data_is_sent() {
    for suite in &SUITES[..3] {
        let mut pair = Pair::new(*suite, 3000);
        // Its record has 5 bytes of head, 5 of message, one of type, and 16 of tag.
        for split in 1..27 {
            pair.client.refresh_traffic_keys().unwrap();
            let mut record = Vec::new();
            pair.client.write_tls(&mut record).unwrap();
            assert_eq!(record.len(), 27);
            let (first, rest) = record.split_at(split);
            assert!(RecordLayer::receive(&mut pair.server, first), "{suite:?} {split}");
            pair.tell(b"between");
            assert!(RecordLayer::receive(&mut pair.server, rest), "{suite:?} {split}");
            pair.tell(b"after");
        }
    }
}

#[test]
fn a_client_that_changes_its_keys_again_and_again_is_refused() {
    let mut pair = Pair::new(SUITES[0], 3000);
    let changes = std::iter::repeat_with(|| {
        pair.client.refresh_traffic_keys().unwrap();
        pair.pass_to_shard()
    });
    let accepted = changes.take(100).take_while(|is_open| *is_open).count();
    // What a shard allows a client to send is enough for so many, of 27 bytes each.
    assert_eq!(accepted, 32);
}

#[test]
fn data_and_the_end_of_the_connection_end_a_stream_in_order() {
    let closes = |act: fn(&mut ClientConnection)| {
        let mut pair = Pair::new(SUITES[1], 1);
        act(&mut pair.client);
        assert!(!pair.pass_to_shard());
        let closing = pair.close();
        assert_eq!(pair.pass_to_client(&closing), b"");
        assert!(pair.client.process_new_packets().unwrap().peer_has_closed());
    };
    closes(|client| client.send_close_notify());
    closes(|client| client.writer().write_all(b"x").unwrap());
}

#[test]
fn a_forged_record_is_answered_with_an_alert_and_nothing_after_it() {
    for at in 0..27 {
        let mut pair = Pair::new(SUITES[1], 3000);
        pair.client.refresh_traffic_keys().unwrap();
        let mut record = Vec::new();
        pair.client.write_tls(&mut record).unwrap();
        record[at] ^= 1;
        // The version is ignored, and a record that claims to be longer may be so.
        if RecordLayer::receive(&mut pair.server, &record) {
            assert!(matches!(at, 1..=4), "{at}");
            continue;
        }
        assert!(!RecordLayer::receive(&mut pair.server, &record));
        assert!(pair.server.encrypt(b"more", &mut Vec::new()).is_err());
        let alert = pair.close();
        pair.client.read_tls(&mut &*alert).unwrap();
        let told = pair.client.process_new_packets();
        assert!(matches!(told, Err(Error::AlertReceived(_))), "{at} {told:?}");
    }
}

#[test]
fn a_record_beyond_the_longest_is_refused_by_its_head() {
    let mut pair = Pair::new(SUITES[0], 3000);
    assert!(RecordLayer::receive(&mut pair.server, &[23, 3, 3]));
    assert!(!RecordLayer::receive(&mut pair.server, &[0x48, 0x01]));
    assert!(!pair.close().is_empty());
}

/// How many of these bytes the server takes before it refuses the connection.
fn taken_of(mut server: TlsConnection, records: impl Iterator<Item = Vec<u8>>) -> usize {
    let mut taken = 0;
    for record in records {
        for part in record.chunks(4096) {
            if server.receive(part, &mut Vec::new()).is_err() {
                return taken;
            }
            taken += part.len();
        }
    }
    panic!("it takes {taken} bytes of one message");
}

/// The first byte of the handshake message after its head, and then others.
fn long_message(kind: u8) -> impl Iterator<Item = u8> {
    [kind, 0, 0xff, 0xff].into_iter().chain(std::iter::repeat_n(0, 0xffff))
}

#[test]
fn a_handshake_message_in_small_records_does_not_fill_the_memory() {
    let server = TlsConnection::new(server_config(tls_keys::provider())).unwrap();
    let hello = long_message(1).map(|byte| vec![22, 3, 1, 0, 1, byte]);
    assert!(taken_of(server, hello) < 70 << 10);
}

#[test]
fn a_handshake_message_in_padded_records_does_not_fill_the_memory() {
    let Pair { client, server, .. } = Pair::new(SUITES[2], 3000);
    let secrets = client.dangerous_extract_secrets().unwrap();
    let (first, ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv }) = secrets.tx else {
        panic!("the client offers one suite");
    };
    let suite = TLS13_CHACHA20_POLY1305_SHA256.tls13().unwrap();
    let mut encrypter = suite.aead_alg.encrypter(key, iv);
    // The type that is appended is 0, and so a part of the padding.
    let (typ, version) = (ContentType::from(0), ProtocolVersion::TLSv1_2);
    let update = long_message(24).zip(first..).map(|(byte, number)| {
        let mut padded = vec![0; 16_000];
        padded[..2].copy_from_slice(&[byte, 22]);
        let payload = OutboundChunks::Single(&padded);
        let message = OutboundPlainMessage { typ, version, payload };
        encrypter.encrypt(message, number).unwrap().encode()
    });
    assert!(taken_of(server, update) < 90 << 10);
}

#[test]
fn a_stream_may_have_very_many_records() {
    let mut pair = Pair::new(SUITES[1], 3000);
    for number in 0..1_u32 << 17 {
        pair.tell(&number.to_be_bytes());
    }
}

#[test]
fn keys_are_replaced_before_they_have_encrypted_too_much() {
    const LIMIT: usize = 50;
    let mut pair = Pair::with(server_config(with_limit(LIMIT as u64)), SUITES[0], 3000);
    for number in 0..10 * LIMIT {
        pair.tell(&number.to_be_bytes());
    }
}

/// The provider, whose keys of TLS 1.3 may encrypt so many records.
fn with_limit(limit: u64) -> CryptoProvider {
    let mut provider = tls_keys::provider();
    for suite in &mut provider.cipher_suites {
        let Some(Tls13CipherSuite { common, hkdf_provider, aead_alg, .. }) = suite.tls13() else {
            continue;
        };
        let (suite_name, hash_provider) = (common.suite, common.hash_provider);
        *suite = SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
            common: CipherSuiteCommon {
                suite: suite_name,
                hash_provider,
                confidentiality_limit: limit,
            },
            hkdf_provider: *hkdf_provider,
            aead_alg: *aead_alg,
            quic: None,
        })));
    }
    provider
}
