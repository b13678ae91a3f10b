//! The certificates that clients trust.

use std::sync::{Arc, LazyLock};

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};

/// Trusts the root certificates of the operating system. They are read once, and all clients share
/// them. If there are none, as in an empty container, plain HTTP works, and HTTPS fails with an
/// unknown issuer.
pub(crate) static CONFIG: LazyLock<ClientConfig> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider and rustls have TLS versions in common")
        .with_root_certificates(roots)
        .with_no_client_auth()
});
