//! TLS handshakes in memory: what the library takes on the server's side, without sockets.

use std::fs::read;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
};

use crate::certificate::Certificate;
use crate::outcome::Outcome;

/// A client and a server of rustls.
pub(crate) struct Handshakes {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    name: ServerName<'static>,
    kind: HandshakeKind,
}

impl Handshakes {
    /// With sessions that are resumed, or with full handshakes.
    pub(crate) fn new(certificate: &Certificate, resumed: bool) -> Outcome<Self> {
        let chain = CertificateDer::from_pem_slice(&read(certificate.chain())?)?;
        let key = PrivateKeyDer::from_pem_slice(&read(certificate.key())?)?;
        let mut roots = RootCertStore::empty();
        roots.add(chain.clone())?;
        let mut server =
            ServerConfig::builder().with_no_client_auth().with_single_cert(vec![chain], key)?;
        server.ticketer = Ticketer::new()?;
        server.alpn_protocols = vec!["http/1.1".into()];
        let mut client =
            ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        client.alpn_protocols = vec!["http/1.1".into()];
        if !resumed {
            client.resumption = Resumption::disabled();
        }
        Ok(Self {
            server: Arc::new(server),
            client: Arc::new(client),
            name: ServerName::try_from("127.0.0.1")?,
            kind: if resumed { HandshakeKind::Resumed } else { HandshakeKind::Full },
        })
    }

    /// Microseconds of processor time of the server for one of so many handshakes.
    pub(crate) fn measure(&self, count: u32) -> Outcome<f64> {
        self.shake_hands()?;
        let mut spent = Duration::ZERO;
        for _ in 0..count {
            let (server, kind) = self.shake_hands()?;
            if kind != Some(self.kind) {
                return Err(format!("a handshake is {kind:?} in place of {:?}", self.kind).into());
            }
            spent += server;
        }
        Ok(spent.as_secs_f64() * 1e6 / f64::from(count))
    }

    /// The processor time of the server.
    fn shake_hands(&self) -> Outcome<(Duration, Option<HandshakeKind>)> {
        let mut client = ClientConnection::new(Arc::clone(&self.client), self.name.clone())?;
        let start = now();
        let mut server = ServerConnection::new(Arc::clone(&self.server))?;
        let mut spent = now() - start;
        // To the end of the tickets, which follow the handshake.
        while client.is_handshaking() || client.wants_write() || server.wants_write() {
            let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
            while client.wants_write() {
                client.write_tls(&mut to_server)?;
            }
            let start = now();
            receive(&to_server, |bytes| {
                server.read_tls(bytes)?;
                server.process_new_packets().map_err(std::io::Error::other)
            })?;
            while server.wants_write() {
                server.write_tls(&mut to_client)?;
            }
            spent += now() - start;
            receive(&to_client, |bytes| {
                client.read_tls(bytes)?;
                client.process_new_packets().map_err(std::io::Error::other)
            })?;
        }
        Ok((spent, server.handshake_kind()))
    }
}

/// Passes bytes on until all are read.
fn receive<T>(
    mut bytes: &[u8],
    mut process: impl FnMut(&mut &[u8]) -> std::io::Result<T>,
) -> std::io::Result<()> {
    while !bytes.is_empty() {
        process(&mut bytes)?;
    }
    Ok(())
}

/// The processor time of this thread.
fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, nanoseconds) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_are_full_or_resumed_as_demanded() {
        let certificate = Certificate::new().unwrap();
        for resumed in [false, true] {
            assert!(Handshakes::new(&certificate, resumed).unwrap().measure(3).unwrap() > 0.0);
        }
    }
}
