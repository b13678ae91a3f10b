//! Where the servers are, and which stream it is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use async_nats::ServerAddr;
use percent_encoding::percent_decode_str;

use super::credentials::Credentials;

/// The port of a server that names none.
const PORT: u16 = 4222;

/// The maximum length of a stream's name. It is part of subjects and of file names.
pub(super) const STREAM_NAME: usize = 64;

/// What NATS allows at most.
const REPLICAS: usize = 5;

/// The engine of a cluster, and how to sign in: `nats://HOST,HOST:PORT/STREAM?replicas=3`, or
/// `tls://…` for servers that have to speak TLS. Without a port it is 4222.
///
/// Before the hosts may be `USER:PASSWORD@` or `TOKEN@`. `Display` and `Debug` leave them out.
///
/// ```
/// use carafe_cluster::ClusterUrl;
///
/// let url: ClusterUrl = "nats://hub:secret@a:4222,b/EVENTS?replicas=3".parse()?;
/// assert_eq!(url.to_string(), "nats://a:4222,b:4222/EVENTS?replicas=3");
/// # Ok::<(), carafe_cluster::BadClusterUrl>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClusterUrl {
    pub(super) servers: Vec<String>,
    pub(super) tls: bool,
    pub(super) stream: String,
    /// How many servers a stream has to be on. `None`: it does not matter.
    pub(super) replicas: Option<usize>,
    pub(super) credentials: Option<Credentials>,
    pub(super) authorities: Option<PathBuf>,
    pub(super) certificate: Option<(PathBuf, PathBuf)>,
}

impl ClusterUrl {
    /// Signs in with these credentials, instead of those in the URL.
    #[must_use]
    pub fn with_credentials(self, credentials: Credentials) -> Self {
        Self { credentials: Some(credentials), ..self }
    }

    /// Trusts the certificate authorities in this PEM file, instead of those of the system.
    #[must_use]
    pub fn with_ca(self, file: PathBuf) -> Self {
        Self { authorities: Some(file), ..self }
    }

    /// Presents the certificate in one PEM file, with its key in another.
    #[must_use]
    pub fn with_client_certificate(self, certificate: PathBuf, key: PathBuf) -> Self {
        Self { certificate: Some((certificate, key)), ..self }
    }

    pub(super) fn addresses(&self) -> Result<Vec<ServerAddr>, BadClusterUrl> {
        let scheme = if self.tls { "tls" } else { "nats" };
        let parsed = self.servers.iter().map(|server| format!("{scheme}://{server}").parse());
        parsed.collect::<Result<_, _>>().map_err(|_| BadClusterUrl::Server)
    }
}

impl fmt::Display for ClusterUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "tls" } else { "nats" };
        write!(f, "{scheme}://{}/{}", self.servers.join(","), self.stream)?;
        self.replicas.map_or(Ok(()), |replicas| write!(f, "?replicas={replicas}"))
    }
}

/// The text is no [`ClusterUrl`]. The error never repeats it, since it may have a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadClusterUrl {
    /// It has another scheme.
    #[error("a cluster's URL begins with nats:// or tls://")]
    Scheme,
    /// A server is not `HOST` or `HOST:PORT`.
    #[error("a server is HOST or HOST:PORT, and several are separated by commas")]
    Server,
    /// The user, the password or the token is not valid.
    #[error("before the servers may be USER:PASSWORD@ or TOKEN@, with special characters as %XX")]
    Credentials,
    /// The name of the stream is missing or not valid.
    #[error(
        "the path of a cluster's URL is the name of the stream: 1 to 64 letters, digits, `-` and \
         `_`, as in nats://host/EVENTS"
    )]
    Stream,
    /// A parameter is not known or not valid.
    #[error("the only parameter of a cluster's URL is replicas=1 to replicas=5")]
    Parameter,
}

impl FromStr for ClusterUrl {
    type Err = BadClusterUrl;

    fn from_str(text: &str) -> Result<Self, BadClusterUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(BadClusterUrl::Scheme)?;
        let tls = match scheme {
            "nats" => false,
            "tls" => true,
            _ => return Err(BadClusterUrl::Scheme),
        };
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(a, b)| (a, Some(b)));
        let (authority, stream) = rest.split_once('/').ok_or(BadClusterUrl::Stream)?;
        let (user, hosts) = authority
            .rsplit_once('@')
            .map_or((None, authority), |(user, hosts)| (Some(user), hosts));
        let url = Self {
            servers: hosts.split(',').map(server).collect::<Result<_, _>>()?,
            tls,
            stream: stream_name(stream)?,
            replicas: query.map(replicas).transpose()?,
            credentials: user.map(user_info).transpose()?,
            authorities: None,
            certificate: None,
        };
        url.addresses().map(|_| url)
    }
}

fn server(text: &str) -> Result<String, BadClusterUrl> {
    // The colons of an IPv6 address are in brackets.
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse::<u16>().ok()),
        _ => (text, Some(PORT)),
    };
    let is_host =
        !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "/@\\#".contains(c));
    match port {
        Some(port) if is_host && port > 0 => Ok(format!("{host}:{port}")),
        _ => Err(BadClusterUrl::Server),
    }
}

fn stream_name(text: &str) -> Result<String, BadClusterUrl> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_name = (1..=STREAM_NAME).contains(&text.len()) && text.bytes().all(allowed);
    if is_name { Ok(text.to_owned()) } else { Err(BadClusterUrl::Stream) }
}

fn replicas(query: &str) -> Result<usize, BadClusterUrl> {
    let number = query.strip_prefix("replicas=").and_then(|number| number.parse().ok());
    number.filter(|number| (1..=REPLICAS).contains(number)).ok_or(BadClusterUrl::Parameter)
}

fn user_info(text: &str) -> Result<Credentials, BadClusterUrl> {
    let decoded = |part: &str| {
        let text =
            percent_decode_str(part).decode_utf8().map_err(|_| BadClusterUrl::Credentials)?;
        if text.is_empty() { Err(BadClusterUrl::Credentials) } else { Ok(text.into_owned()) }
    };
    Ok(match text.split_once(':') {
        Some((user, password)) => {
            Credentials::UserPassword { user: decoded(user)?, password: decoded(password)? }
        }
        None => Credentials::Token(decoded(text)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn parse(text: &str) -> ClusterUrl {
        text.parse().unwrap()
    }

    #[test]
    fn a_url_names_servers_stream_and_replicas() {
        let url = parse("nats://a,b:4223,[::1],[::1]:4224,127.0.0.1:1/my-Events_2?replicas=5");
        assert_eq!(url.servers, ["a:4222", "b:4223", "[::1]:4222", "[::1]:4224", "127.0.0.1:1"]);
        assert_eq!((&*url.stream, url.replicas, url.tls), ("my-Events_2", Some(5), false));
        assert!(url.credentials.is_none());
        assert!(url.addresses().unwrap().iter().all(|address| !address.tls_required()));

        let secure = parse("tls://a/EVENTS");
        assert_eq!((secure.tls, secure.replicas), (true, None));
        assert!(secure.addresses().unwrap()[0].tls_required());
    }

    #[test]
    fn a_url_may_sign_in_and_never_shows_how() {
        let url = parse("nats://hub%40home:p%2Fs%3As@a/EVENTS");
        let Some(Credentials::UserPassword { user, password }) = &url.credentials else {
            panic!("{url:?}");
        };
        assert_eq!((&**user, &**password), ("hub@home", "p/s:s"));
        let token = parse("nats://t0ken@a/EVENTS");
        assert!(matches!(&token.credentials, Some(Credentials::Token(text)) if text == "t0ken"));

        for shown in [format!("{url} {url:?}"), format!("{token} {token:?}")] {
            assert!(!shown.contains("p/s") && !shown.contains("home"), "{shown}");
            assert!(!shown.contains("t0ken"), "{shown}");
        }
    }

    #[test]
    fn an_error_says_which_part_is_wrong_and_repeats_nothing() {
        for (text, error) in [
            ("http://a/EVENTS", BadClusterUrl::Scheme),
            ("a:4222/EVENTS", BadClusterUrl::Scheme),
            ("nats:///EVENTS", BadClusterUrl::Server),
            ("nats://a,,b/EVENTS", BadClusterUrl::Server),
            ("nats://a:0/EVENTS", BadClusterUrl::Server),
            ("nats://a:port/EVENTS", BadClusterUrl::Server),
            ("nats://a b/EVENTS", BadClusterUrl::Server),
            ("nats://a", BadClusterUrl::Stream),
            ("nats://a/", BadClusterUrl::Stream),
            ("nats://a/EVENTS.all", BadClusterUrl::Stream),
            ("nats://a/EVENTS/more", BadClusterUrl::Stream),
            ("nats://a/EVENTS?replicas=0", BadClusterUrl::Parameter),
            ("nats://a/EVENTS?replicas=6", BadClusterUrl::Parameter),
            ("nats://a/EVENTS?replica=3", BadClusterUrl::Parameter),
            ("nats://:password@a/EVENTS", BadClusterUrl::Credentials),
            ("nats://@a/EVENTS", BadClusterUrl::Credentials),
            ("nats://user:%ff@a/EVENTS", BadClusterUrl::Credentials),
        ] {
            assert_eq!(text.parse::<ClusterUrl>().map(drop), Err(error), "{text}");
        }
        let long = format!("nats://a/{}", "E".repeat(65));
        assert_eq!(long.parse::<ClusterUrl>().map(drop), Err(BadClusterUrl::Stream));
    }
}
