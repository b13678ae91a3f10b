//! A hub with a key of each Mercure dialect, and short names for what the tests do with it.

use std::fs;
use std::io::{Read, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use carafe_http::auth::Signer;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::form_urlencoded::Serializer;

use crate::http::{Answer, Stream, connect, read_head, request};
use crate::process::{Process, Server, carafe};

pub(crate) const PATH: &str = "/.well-known/mercure";
pub(crate) const RESOURCE: &str = "https://hub.example/.well-known/mercure";
pub(crate) const ISSUER: &str = "https://issuer.example";

const ZERO: &str = "a secret of more than thirty-two bytes: 0";
const ONE: &str = "a secret of more than thirty-two bytes: 1";

const KEYS: &str = "[[key]]\nsecret-file = 'zero'\ndialect = 'mercure-0'\n\
    [[key]]\nsecret-file = 'one'\ndialect = 'mercure-1'\nissuer = 'https://issuer.example'\n\
    audience = ['https://hub.example/.well-known/mercure', 'https://elsewhere.example']\n";

/// A hub that trusts both keys.
pub(crate) struct Hub {
    pub(crate) server: Server,
    _folder: TempDir,
}

impl Hub {
    /// Clients without a token may do nothing.
    pub(crate) fn closed(options: &[&str]) -> Self {
        Self::at("https://hub.example", options)
    }

    /// The same under another public URL.
    pub(crate) fn at(public_url: &str, options: &[&str]) -> Self {
        Self::with_secrets([ZERO, ONE], public_url, options)
    }

    /// The same, with these secrets of the two keys.
    pub(crate) fn with_secrets([zero, one]: [&str; 2], public_url: &str, options: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("zero"), zero).unwrap();
        fs::write(folder.path().join("one"), one).unwrap();
        let keys = folder.path().join("keys.toml");
        fs::write(&keys, KEYS).unwrap();
        let keys = keys.to_str().unwrap();
        let all = ["serve", "--listen", "127.0.0.1:0", "--log", "memory:", "--keys", keys];
        let server = Server::of(Process::start(
            carafe().args(all).args(["--public-url", public_url]).args(options),
        ));
        Self { server, _folder: folder }
    }

    /// Clients without a token may subscribe.
    pub(crate) fn open(options: &[&str]) -> Self {
        Self::closed(&[&["--anonymous", "subscribe"], options].concat())
    }

    /// A request to the hub's path.
    pub(crate) fn ask(&self, method: &str, query: &str, headers: &[&str], body: &str) -> Answer {
        request(self.server.address, method, &format!("{PATH}{query}"), headers, body.as_bytes())
    }

    /// A stream whose query has these pairs.
    #[track_caller]
    pub(crate) fn stream(&self, pairs: &[(&str, &str)], headers: &[&str]) -> Stream {
        Stream::open(self.server.address, &format!("{PATH}?{}", form(pairs)), headers)
    }

    /// What asking for a stream is answered that is to be refused. One that is not is left at once,
    /// since it would not end.
    #[track_caller]
    pub(crate) fn refused(&self, pairs: &[(&str, &str)], headers: &[&str]) -> Answer {
        self.refused_by(&format!("?{}", form(pairs)), headers)
    }

    /// The same, with the query as it is.
    #[track_caller]
    pub(crate) fn refused_by(&self, query: &str, headers: &[&str]) -> Answer {
        let mut socket = connect(self.server.address);
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        write!(
            socket,
            "GET {PATH}{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n"
        )
        .unwrap();
        let (head, mut body) = read_head(&mut socket);
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        if status != 200 {
            socket.read_to_end(&mut body).unwrap();
        }
        Answer { status, head, body: String::from_utf8(body).unwrap() }
    }

    pub(crate) fn post(&self, pairs: &[(&str, &str)], headers: &[&str]) -> Answer {
        let all = [&["Content-Type: application/x-www-form-urlencoded"], headers].concat();
        self.ask("POST", "", &all, &form(pairs))
    }

    /// Publishes with a token of 0.x for everything, and gives the ID.
    #[track_caller]
    pub(crate) fn publish(&self, pairs: &[(&str, &str)]) -> String {
        let answer = self.post(pairs, &[&bearer(&zero(&json!({"publish": ["*"]})))]);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }
}

pub(crate) fn form(pairs: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(pairs).finish()
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

/// A token of 0.x with this claim.
pub(crate) fn zero(mercure: &Value) -> String {
    sign_zero(&json!({ "mercure": mercure }))
}

pub(crate) fn sign_zero(claims: &Value) -> String {
    Signer::secret(ZERO.as_bytes()).unwrap().sign(claims).unwrap()
}

/// The header with a token of 0.x.
pub(crate) fn with_zero(mercure: &Value) -> String {
    bearer(&zero(mercure))
}

/// The time this many seconds from now.
pub(crate) fn at(seconds: i64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    now.checked_add_signed(seconds).unwrap()
}

/// What every token of 1.0 says, with these authorization details.
pub(crate) fn claims(details: &Value) -> Value {
    json!({"iss": ISSUER, "aud": RESOURCE, "exp": at(600), "authorization_details": details})
}

pub(crate) fn sign_one(claims: &Value) -> String {
    Signer::secret(ONE.as_bytes()).unwrap().with_type("at+jwt").sign(claims).unwrap()
}

/// The header with a token of 1.0.
pub(crate) fn with_one(details: &Value) -> String {
    bearer(&sign_one(&claims(details)))
}

/// One of Mercure's authorization details, of exact topics.
pub(crate) fn detail(actions: &[&str], topics: &[&str]) -> Value {
    let topics: Vec<_> = topics.iter().map(|topic| json!({ "match": topic })).collect();
    json!({"type": "https://mercure.rocks/authorization-detail", "actions": actions, "topics": topics})
}

/// The same, of URL Patterns.
pub(crate) fn pattern_detail(actions: &[&str], patterns: &[&str]) -> Value {
    let topics: Vec<_> = patterns
        .iter()
        .map(|pattern| json!({ "match": pattern, "match_type": "urlpattern" }))
        .collect();
    json!({"type": "https://mercure.rocks/authorization-detail", "actions": actions, "topics": topics})
}

/// A hub that reports its open subscriptions.
pub(crate) fn hub_with_subscriptions() -> Hub {
    Hub::open(&["--mercure-subscriptions"])
}

/// Asks for a document below that of all subscriptions.
pub(crate) fn ask_subscriptions(hub: &Hub, path: &str, headers: &[&str]) -> Answer {
    request(hub.server.address, "GET", &format!("{PATH}/subscriptions{path}"), headers, b"")
}

/// The same document, as this content type.
#[track_caller]
pub(crate) fn subscriptions_as(hub: &Hub, path: &str, token: &str, content_type: &str) -> Value {
    let answer = ask_subscriptions(hub, path, &[token]);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("content-type"), Some(content_type));
    answer.json()
}

/// The IDs of the next updates.
#[track_caller]
pub(crate) fn ids(stream: &mut Stream, count: usize) -> Vec<String> {
    (0..count).map(|_| stream.next().unwrap().last_event_id).collect()
}
