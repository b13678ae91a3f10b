//! Properties of any bytes that a TLS client sends on its stream; the fuzz target runs them, too.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use carafe_http::{Options, Rights, Tls, router, serve};
use carafe_hub::Hub;
use carafe_log::{MemoryLog, Publication};
use carafe_protocol::Topic;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::cipher::{MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::pki_types::CertificateDer;
use rustls::{
    ClientConfig, ClientConnection, ConnectionTrafficSecrets, ContentType, ProtocolVersion,
    RootCertStore, StreamOwned,
};
use tokio::runtime::Runtime;

/// How long the hub may take for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// A hub for all inputs: no input may be felt by the next.
static SERVED: LazyLock<Served> = LazyLock::new(Served::start);

struct Served {
    hub: Hub,
    runtime: Runtime,
    address: SocketAddr,
    client: Arc<ClientConfig>,
    /// An undisturbed stream, and how many events it has received.
    witness: Mutex<(Connection, usize)>,
}

type Connection = StreamOwned<ClientConnection, TcpStream>;

/// A stream ends after any bytes and the end of its connection, and no other stream does.
///
/// An input is a list of parts: a kind, a length, and so many bytes. Parts of kind 0 are sent as
/// they are. Other parts are sent as a record with this content type, encrypted as the hub expects.
/// Returns how many bytes the hub has sent in the end: closing a connection in order takes some.
pub(crate) fn any_records_end_their_own_stream_only(input: &[u8]) -> usize {
    let (mut socket, mut forger) = SERVED.stream();
    let sent =
        socket.write_all(&forger.bytes(input)).and_then(|()| socket.shutdown(Shutdown::Write));
    let is_refused = sent.is_err_and(|error| is_over(error.kind()));
    let mut answer = Vec::new();
    match socket.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert!(is_over(error.kind()), "the stream does not end: {error}"),
    }
    SERVED.is_well();
    if is_refused { answer.len().max(1) } else { answer.len() }
}

/// The hub has closed the connection, whose bytes it has not read.
fn is_over(kind: ErrorKind) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
    matches!(kind, BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected)
}

impl Served {
    fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("carafe-records-{}", std::process::id()));
        let (tls, client) = certificate(&folder);
        std::fs::remove_dir_all(&folder).expect("it was made here");
        let (hub, mut options) = (Hub::new(MemoryLog::default()), Options::default());
        options.anonymous = Rights::all();
        let mut server = options.server();
        server.tls = Some(tls);
        let listener = TcpListener::bind("127.0.0.1:0").expect("there are ports");
        let address = listener.local_addr().expect("it is bound");
        let (app, served) = (router(hub.clone(), options), hub.clone());
        std::thread::spawn(move || {
            runtime().block_on(async {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::TcpListener::from_std(listener)?;
                serve(listener, app, &served, server, std::future::pending()).await
            })
        });
        let witness = Mutex::new((connect(&client, address), 0));
        Self { hub, runtime: runtime(), address, client, witness }
    }

    /// A stream: its socket, and what makes records of its client.
    fn stream(&self) -> (TcpStream, Forger) {
        let (connection, socket) = connect(&self.client, self.address).into_parts();
        let secrets = connection.dangerous_extract_secrets().expect("the handshake is complete");
        let (next, ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv }) = secrets.tx else {
            panic!("the client offers one suite");
        };
        let suite = TLS13_CHACHA20_POLY1305_SHA256.tls13().expect("it is of TLS 1.3");
        (socket, Forger { encrypter: suite.aead_alg.encrypter(key, iv), next })
    }

    /// The witness receives what is published.
    fn is_well(&self) {
        let (connection, received) = &mut *self.witness.lock().expect("no other input failed");
        *received += 1;
        let data = format!("event {received}");
        let topic = Topic::new("a").expect("it is a topic");
        let published = self.hub.publish(Publication::new(topic, data.clone()));
        self.runtime.block_on(published).expect("it is stored");
        read_to(connection, &format!("data: {data}\n"));
    }
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("the system has a poller")
}

/// The certificate of the hub, and the settings of a client that trusts it.
fn certificate(folder: &Path) -> (Tls, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".into()]).expect("it is a name");
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    std::fs::create_dir_all(folder).expect("there is a temporary folder");
    std::fs::write(&certificate, made.cert.pem()).expect("it is written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("it is written");
    let tls = Tls::load(certificate, key).expect("it is a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(made.cert.der().to_vec())).expect("it is a certificate");
    let mut provider = default_provider();
    provider.cipher_suites = vec![TLS13_CHACHA20_POLY1305_SHA256];
    let mut client = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the suite is of this version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.enable_secret_extraction = true;
    (tls, Arc::new(client))
}

/// Opens a stream, and reads its beginning.
fn connect(client: &Arc<ClientConfig>, address: SocketAddr) -> Connection {
    let name = "localhost".try_into().expect("it is a name");
    let tls = ClientConnection::new(Arc::clone(client), name).expect("it is configured");
    let socket = TcpStream::connect(address).expect("the hub listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
    let mut connection = StreamOwned::new(tls, socket);
    connection.write_all(b"GET /events/a HTTP/1.1\r\nHost: x\r\n\r\n").expect("it is read");
    read_to(&mut connection, "event: carafe.position\n");
    connection
}

fn read_to(connection: &mut Connection, end: &str) {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        let mut byte = [0];
        connection.read_exact(&mut byte).expect("the stream goes on");
        read.extend(byte);
    }
}

struct Forger {
    encrypter: Box<dyn MessageEncrypter>,
    /// The number of the next record.
    next: u64,
}

impl Forger {
    /// The bytes of all parts.
    fn bytes(&mut self, mut input: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let [kind, length, rest @ ..] = input {
            let (part, rest) = rest.split_at(rest.len().min(usize::from(*length)));
            match kind {
                0 => bytes.extend_from_slice(part),
                kind => bytes.extend(self.record(ContentType::from(*kind), part)),
            }
            input = rest;
        }
        bytes
    }

    fn record(&mut self, typ: ContentType, part: &[u8]) -> Vec<u8> {
        let (version, payload) = (ProtocolVersion::TLSv1_2, OutboundChunks::Single(part));
        let message = OutboundPlainMessage { typ, version, payload };
        let record = self.encrypter.encrypt(message, self.next).expect("it is short");
        self.next += 1;
        record.encode()
    }
}
