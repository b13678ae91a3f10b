//! TLS of the load, with rustls.

use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::error::Error;

/// The certificates that are trusted, and the protocol that is offered by ALPN.
pub(crate) struct Trust(Arc<ClientConfig>);

/// How TLS connections to one server are made.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// A TLS connection.
pub(crate) struct Session {
    socket: TcpStream,
    tls: ClientConnection,
}

impl Trust {
    /// Trusts the certificates in a PEM file.
    pub(crate) fn new(file: &Path, protocol: &str) -> Result<Self, Error> {
        let bad = |error: String| Error::Usage(format!("{}: {error}", file.display()));
        let certificates = CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| bad(error.to_string()))?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate).map_err(|error| bad(error.to_string()))?;
        }
        let mut config =
            ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![protocol.into()];
        // Each connection has a complete handshake, so that all cost the server the same.
        config.resumption = Resumption::disabled();
        Ok(Self(Arc::new(config)))
    }

    pub(crate) fn client(&self, host: &str) -> Result<Client, Error> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| Error::Usage(format!("{host}: {error}")))?;
        Ok(Client { config: Arc::clone(&self.0), name })
    }
}

impl Client {
    /// The handshake begins with the first write, and data that is written waits for its end.
    pub(crate) fn open(&self, socket: TcpStream) -> io::Result<Session> {
        let tls = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        let mut tls = tls.map_err(io::Error::other)?;
        tls.set_buffer_limit(None);
        Ok(Session { socket, tls })
    }
}

impl Session {
    pub(crate) fn tcp(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    fn flush_records(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if is_not_yet(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads and decrypts. Returns false at the end of the connection.
    fn read_records(&mut self) -> io::Result<bool> {
        let read = self.tls.read_tls(&mut self.socket)?;
        self.tls.process_new_packets().map_err(io::Error::other)?;
        self.flush_records()?;
        Ok(read > 0)
    }
}

impl Read for Session {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.flush_records()?;
        loop {
            match self.tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => return other,
            }
            if !self.read_records()? {
                return Ok(0);
            }
        }
    }
}

impl Write for Session {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.tls.writer().write(bytes)?;
        self.flush_records()?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flush_records()
    }
}

fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected)
}
