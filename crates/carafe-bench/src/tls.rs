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
use crate::tickets::Tickets;

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
    /// Trusts the certificates in a PEM file. With `tickets`, sessions are resumed.
    pub(crate) fn new(file: &Path, protocol: &str, tickets: bool) -> Result<Self, Error> {
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
        // Without tickets, each connection has a full handshake, so that all cost the server the
        // same.
        config.resumption = match tickets {
            true => Resumption::store(Arc::new(Tickets::default())),
            false => Resumption::disabled(),
        };
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

// The certificate needs rcgen, which is a dependency of the measurements.
#[cfg(feature = "measure")]
#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use mio::{Events, Interest, Poll, Token};
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ServerConfig, ServerConnection, StreamOwned};

    use super::*;

    /// Answers a request with its bytes, and ends the connection.
    fn serve(listener: &TcpListener, config: ServerConfig) -> io::Result<()> {
        let (socket, _) = listener.accept()?;
        let tls = ServerConnection::new(Arc::new(config)).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(tls, socket);
        let mut request = [0; 5];
        stream.read_exact(&mut request)?;
        stream.write_all(&request)?;
        stream.conn.send_close_notify();
        stream.flush()
    }

    /// Everything up to the end of the connection.
    fn read_all(mut poll: Poll, mut session: Session) -> io::Result<Vec<u8>> {
        let (mut events, mut received, mut buffer) =
            (Events::with_capacity(8), Vec::new(), [0; 64]);
        loop {
            match session.read(&mut buffer) {
                Ok(0) => return Ok(received),
                Ok(read) => received.extend_from_slice(&buffer[..read]),
                Err(error) if is_not_yet(&error) => poll.poll(&mut events, None)?,
                Err(error) => return Err(error),
            }
        }
    }

    #[test]
    fn a_request_is_sent_after_the_handshake_and_the_end_is_reported() {
        let issued = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
        let chain = vec![issued.cert.der().clone()];
        let config = ServerConfig::builder().with_no_client_auth();
        let mut config = config.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec!["http/1.1".into()];
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), issued.cert.pem()).unwrap();

        let trust = Trust::new(file.path(), "http/1.1", false).unwrap();
        let client = trust.client("127.0.0.1").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = thread::spawn(move || serve(&listener, config));
        let poll = Poll::new().unwrap();
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut socket, Token(0), both).unwrap();
        let mut session = client.open(socket).unwrap();
        session.write_all(b"hello").unwrap();
        assert_eq!(read_all(poll, session).unwrap(), b"hello");
        server.join().unwrap().unwrap();
    }

    #[test]
    fn a_file_without_certificates_is_an_error() {
        let missing = Trust::new(Path::new("does-not-exist"), "h2", true).map(|_| ());
        assert!(matches!(missing, Err(Error::Usage(reason)) if reason.contains("does-not-exist")));
    }
}
