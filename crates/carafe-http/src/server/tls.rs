//! The server's certificate and key: read from files, and read again while the server runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};

use crate::server::tls_keys;

/// The certificate and the private key of a server. Clones share them: reloading one reloads
/// all.
///
/// ```no_run
/// use carafe_http::{Options, Tls};
///
/// # fn main() -> Result<(), carafe_http::TlsError> {
/// let tls = Tls::load("cert.pem", "key.pem")?;
/// let mut server = Options::default().server();
/// server.tls = Some(tls.clone());
/// // Later, when the certificate was renewed.
/// tls.reload()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Tls {
    files: Arc<Files>,
    shown: Arc<Shown>,
    config: Arc<ServerConfig>,
}

impl Tls {
    /// Reads the certificate with its chain, and the private key. Both files are PEM.
    pub fn load(
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, TlsError> {
        let provider = Arc::new(tls_keys::provider());
        let files = Files { certificate: certificate.into(), key: key.into(), provider };
        let shown = Arc::new(Shown(ArcSwap::from_pointee(files.read()?)));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&files.provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Provider)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        // Stateless, and not affected by reloads. The keys change every six hours.
        config.ticketer = Ticketer::new().map_err(TlsError::Provider)?;
        config.alpn_protocols = vec![b"h2".into(), b"http/1.1".into()];
        Ok(Self { files: Arc::new(files), shown, config: Arc::new(config) })
    }

    /// Reads the files again. New connections get the new certificate; open ones are not
    /// affected. On an error the previous certificate stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.shown.0.store(Arc::new(self.files.read()?));
        Ok(())
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

/// Why a certificate and its key cannot be used.
///
/// ```
/// use carafe_http::{Tls, TlsError};
///
/// let error = Tls::load("no-such-cert.pem", "no-such-key.pem").err();
/// assert!(matches!(error, Some(TlsError::Unreadable { .. })));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        #[source]
        error: io::Error,
    },
    /// A file is not PEM, or is incomplete.
    #[error("{} is not complete PEM: {error}", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        #[source]
        error: pem::Error,
    },
    /// The file contains no certificate.
    #[error(
        "{} has no certificate: give a PEM file with the server's own first, then its chain",
        path.display()
    )]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The file contains no private key.
    #[error(
        "{} has no private key: give an unencrypted one in PEM (PKCS #8, PKCS #1 or SEC 1)",
        path.display()
    )]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The certificate is malformed, or the key is of an unknown kind.
    #[error("{} and {} cannot be used: {error}", certificate.display(), key.display())]
    Unusable {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// The error of rustls.
        #[source]
        error: rustls::Error,
    },
    /// The key does not belong to the certificate.
    #[error(
        "the key in {} does not belong to the certificate in {}",
        key.display(),
        certificate.display()
    )]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// The cryptography provider supports no version of TLS.
    #[error("TLS is not available: {0}")]
    Provider(#[source] rustls::Error),
}

#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
}

impl Files {
    fn read(&self) -> Result<CertifiedKey, TlsError> {
        let chain = certificates(&self.certificate)?;
        let key = private_key(&self.key)?;
        CertifiedKey::from_der(chain, key, &self.provider).map_err(|error| self.unfit(error))
    }

    fn unfit(&self, error: rustls::Error) -> TlsError {
        let (certificate, key) = (self.certificate.clone(), self.key.clone());
        match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                TlsError::Mismatch { certificate, key }
            }
            error => TlsError::Unusable { certificate, key, error },
        }
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| TlsError::NotPem { path: path.into(), error })?;
    if chain.is_empty() { Err(TlsError::NoCertificate { path: path.into() }) } else { Ok(chain) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey { path: path.into() },
        error => TlsError::NotPem { path: path.into(), error },
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| TlsError::Unreadable { path: path.into(), error })
}

/// The certificate for new handshakes.
#[derive(Debug)]
struct Shown(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}
