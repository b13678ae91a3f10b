//! URLs of streams and of publishing, and the requests to them.

use std::fmt::Write;
use std::net::{SocketAddr, ToSocketAddrs};

use url::Url;

use crate::error::Error;

use crate::tls;

/// Replaces `{topic}` while the URL is parsed, because parsing encodes braces.
const TOPIC: &str = "0carafe-topic0";
const CONNECTION: &str = "0carafe-connection0";

/// A URL in which `{topic}` and `{connection}` are replaced by numbers.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// How to connect with TLS, for https.
    pub(crate) tls: Option<tls::Client>,
    pub(crate) authority: String,
    path: String,
    headers: String,
}

impl Target {
    /// Without `trust`, https is not supported.
    pub(crate) fn parse(
        text: &str,
        headers: &[String],
        trust: Option<&tls::Trust>,
    ) -> Result<Self, Error> {
        let marked = text.replace("{topic}", TOPIC).replace("{connection}", CONNECTION);
        let bad = |reason: &str| Error::Usage(format!("{text}: {reason}"));
        let url = Url::parse(&marked).map_err(|error| bad(&error.to_string()))?;
        let tls = match (url.scheme(), trust) {
            ("http", _) => None,
            ("https", Some(trust)) => Some(trust.client(url.host_str().unwrap_or_default())?),
            _ => {
                return Err(bad(
                    "carafe bench supports http only: connect to the server behind the TLS proxy",
                ));
            }
        };
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = url.port_or_known_default().unwrap_or(80);
        let mut addresses =
            (host, port).to_socket_addrs().map_err(|error| bad(&error.to_string()))?;
        Ok(Self {
            address: addresses.next().ok_or_else(|| bad("the host has no address"))?,
            tls,
            authority: authority.into(),
            path: format!("{}{query}", url.path()),
            headers: headers.iter().map(|header| format!("{header}\r\n")).collect(),
        })
    }

    /// Removes the query, for publishing to the URL of the stream.
    pub(crate) fn without_query(mut self) -> Self {
        self.path.truncate(self.path.find('?').unwrap_or(self.path.len()));
        self
    }

    /// The request for a stream that resumes after this event ID, if it is not empty.
    pub(crate) fn get(&self, topic: usize, connection: usize, last_event_id: &[u8]) -> Vec<u8> {
        let path = self.path(topic, connection);
        let Self { authority, headers, .. } = self;
        let accept = "Accept: text/event-stream\r\nCache-Control: no-store";
        let mut head = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\n{accept}\r\n{headers}")
            .into_bytes();
        if !last_event_id.is_empty() {
            head.extend_from_slice(b"Last-Event-ID: ");
            head.extend_from_slice(last_event_id);
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        head
    }

    pub(crate) fn post(&self, topic: usize, media_type: &str, body: &[u8]) -> Vec<u8> {
        let mut head =
            format!("POST {} HTTP/1.1\r\nHost: {}\r\n", self.path(topic, 0), self.authority);
        write!(
            head,
            "Content-Type: {media_type}\r\nContent-Length: {}\r\n{}\r\n",
            body.len(),
            self.headers
        )
        .expect("writing to a String does not fail");
        [head.as_bytes(), body].concat()
    }

    /// The head of a request that stays open, for the events of a topic in chunks.
    pub(crate) fn open_post(&self, topic: usize) -> Vec<u8> {
        let (path, authority) = (self.path(topic, 0), &self.authority);
        let form = "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked";
        format!("POST {path} HTTP/1.1\r\nHost: {authority}\r\n{form}\r\n{}\r\n", self.headers)
            .into_bytes()
    }

    pub(crate) fn path(&self, topic: usize, connection: usize) -> String {
        self.path.replace(TOPIC, &topic.to_string()).replace(CONNECTION, &connection.to_string())
    }
}
