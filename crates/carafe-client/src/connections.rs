//! The connections of the client: TLS, HTTP versions, proxies.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use reqwest::Client;
use reqwest::redirect::Policy;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::cause::Cause;

/// The time limit for a TCP and TLS handshake.
const CONNECT: Duration = Duration::from_secs(10);

/// How often an HTTP/2 connection with open streams is tested, and how long its answer may take.
/// Dropping a stream does not close a dead connection, and the next stream would use it again.
const PING: Duration = Duration::from_secs(15);

/// What the server may send on an HTTP/2 stream before it is read.
const STREAM_WINDOW: u32 = 256 << 10;

/// The largest window that there is: streams that nobody reads must not stop the other streams of
/// their connection. The windows of the streams limit the memory.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// The root certificates of the operating system. They are read once. If there are none, as in an
/// empty container, plain HTTP works, and HTTPS fails with an unknown issuer.
static ROOTS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Arc::new(roots)
});

/// Connections to servers, which event sources and publishers can share.
///
/// By default, each has connections of its own. Over HTTP/2, all that share these use one
/// connection to a server, as far as the server allows so many streams: a hub allows 1000.
///
/// HTTP/2 is used over TLS, if the server offers it, and HTTP/1.1 otherwise. The environment can
/// name proxies: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, and `NO_PROXY` for exceptions.
///
/// Connections belong to the runtime that first uses them.
///
/// ```
/// use carafe_client::{Connections, EventSource, Publisher};
///
/// let connections = Connections::new();
/// let hub = Publisher::new("https://hub.example").with_connections(&connections);
/// let orders = EventSource::options("https://hub.example/events/orders")
///     .connections(&connections)
///     .connect();
/// # drop((hub, orders));
/// ```
#[derive(Clone, Debug)]
pub struct Connections {
    pub(crate) client: Client,
}

impl Connections {
    /// Connections that trust the root certificates of the operating system.
    #[must_use]
    pub fn new() -> Self {
        Self::trusting(Arc::clone(&ROOTS))
    }

    /// Connections that also trust these root certificates in PEM, such as those of a company.
    ///
    /// # Errors
    /// When the text is not PEM, or when a certificate in it cannot be a root.
    pub fn with_roots(pem: &[u8]) -> Result<Self, Cause> {
        let mut roots = RootCertStore::clone(&ROOTS);
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.map_err(Cause::of)?).map_err(Cause::of)?;
        }
        Ok(Self::trusting(Arc::new(roots)))
    }

    fn trusting(roots: Arc<RootCertStore>) -> Self {
        let mut tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider and rustls have TLS versions in common")
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // No time limit for a whole request: a stream has none. Publishing sets its own.
        let client = Client::builder()
            .connect_timeout(CONNECT)
            .user_agent("carafe")
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PING)
            .http2_keep_alive_timeout(PING)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            // `redirect.rs` follows them: what a program sends may be a secret in any header.
            .redirect(Policy::none())
            .tls_backend_preconfigured(tls)
            .build();
        Self { client: client.expect("a client with constant settings can always be built") }
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self::new()
    }
}
