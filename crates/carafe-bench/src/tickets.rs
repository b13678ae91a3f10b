//! Session tickets of the load: of one server, and as many as very many connections get.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

/// Enough for all connections that are opened at once. The store of rustls has eight.
const MOST: usize = 20_000;

/// Sessions of TLS 1.3, the newest last. Each is resumed once.
#[derive(Debug, Default)]
pub(crate) struct Tickets {
    tickets: Mutex<VecDeque<Tls13ClientSessionValue>>,
    group: Mutex<Option<NamedGroup>>,
}

impl Tickets {
    fn tickets(&self) -> MutexGuard<'_, VecDeque<Tls13ClientSessionValue>> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn group(&self) -> MutexGuard<'_, Option<NamedGroup>> {
        self.group.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        *self.group() = Some(group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        *self.group()
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut tickets = self.tickets();
        tickets.push_back(ticket);
        if tickets.len() > MOST {
            tickets.pop_front();
        }
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.tickets().pop_back()
    }
}

// The certificate needs rcgen, which is a dependency of the measurements.
#[cfg(feature = "measure")]
#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::client::Resumption;
    use rustls::crypto::aws_lc_rs::Ticketer;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{
        ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig,
        ServerConnection,
    };

    use super::*;

    fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(issued.cert.der().clone()).unwrap();
        let server = ServerConfig::builder().with_no_client_auth();
        let mut server = server.with_single_cert(vec![issued.cert.der().clone()], key).unwrap();
        server.ticketer = Ticketer::new().unwrap();
        let mut client =
            ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        client.resumption = Resumption::store(Arc::new(Tickets::default()));
        (Arc::new(server), Arc::new(client))
    }

    /// A handshake, and the tickets after it.
    fn kind(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Option<HandshakeKind> {
        let name = "localhost".try_into().unwrap();
        let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
        let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
        while client.wants_write() || server.wants_write() {
            let mut records = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut records).unwrap();
            }
            server.read_tls(&mut &*records).unwrap();
            server.process_new_packets().unwrap();
            records.clear();
            while server.wants_write() {
                server.write_tls(&mut records).unwrap();
            }
            client.read_tls(&mut &*records).unwrap();
            client.process_new_packets().unwrap();
        }
        client.handshake_kind()
    }

    #[test]
    fn sessions_are_resumed_with_the_tickets_of_earlier_ones() {
        let (server, client) = configs();
        assert_eq!(kind(&server, &client), Some(HandshakeKind::Full));
        for _ in 0..20 {
            assert_eq!(kind(&server, &client), Some(HandshakeKind::Resumed));
        }
    }
}
