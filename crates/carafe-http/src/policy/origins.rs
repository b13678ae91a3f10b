//! The origins whose pages may use the hub (CORS).

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::header::{ETAG, LINK, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method};
use tower_http::cors::{AllowCredentials, AllowHeaders, AllowOrigin, CorsLayer};

use crate::answer::headers::{
    LAST_EVENT_ID, LAST_KEY, LAST_POSITION, MERCURE_LAST_EVENT_ID, POSITION,
};

/// The origin of pages, such as `https://app.example`, or a pattern of origins: `*` for any,
/// `https://*.app.example` for each label in place of the star, `http://localhost:*` for each port.
/// Letter case does not matter, nor does a default port.
///
/// ```
/// use carafe_http::Origin;
///
/// let origin: Origin = "HTTPS://App.Example:443".parse()?;
/// assert_eq!(origin, "https://app.example".parse()?);
/// # Ok::<(), &'static str>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Any,
    /// As browsers send it.
    One(HeaderValue),
    Pattern(Pattern),
}

/// `port` is `None` for the default port, and `Some("*")` for each.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    scheme: String,
    host: String,
    port: Option<String>,
}

impl FromStr for Origin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const BAD: &str = "write an origin as browsers send it, such as https://app.example or \
            http://localhost:5173, with `*` in place of the first label or of the port, or *";
        if text == "*" {
            return Ok(Self(Kind::Any));
        }
        // Browsers write scheme and host in lower case, and the header is compared as it is.
        let text = text.to_ascii_lowercase();
        let (scheme, host, port) = parts(&text).ok_or(BAD)?;
        let literal = host.strip_prefix("*.").unwrap_or(host);
        if !consists_of(scheme, "+-.") || !is_host(literal) {
            return Err(BAD);
        }
        // Browsers omit the default port.
        let port =
            port.filter(|port| !matches!((scheme, *port), ("https", "443") | ("http", "80")));
        if port == Some("*") || literal != host {
            let (scheme, host, port) = (scheme.into(), host.into(), port.map(Into::into));
            return Ok(Self(Kind::Pattern(Pattern { scheme, host, port })));
        }
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let value = HeaderValue::try_from(format!("{scheme}://{host}{port}")).map_err(|_| BAD)?;
        Ok(Self(Kind::One(value)))
    }
}

impl Origin {
    /// Whether this origin, or one of the pattern, is the one that a browser sent.
    fn includes(&self, origin: &HeaderValue) -> bool {
        match &self.0 {
            Kind::Any => false,
            Kind::One(value) => value == origin,
            Kind::Pattern(pattern) => origin.to_str().is_ok_and(|text| pattern.matches(text)),
        }
    }
}

impl Pattern {
    fn matches(&self, origin: &str) -> bool {
        let Some((scheme, host, port)) = parts(origin) else { return false };
        let is_same_host = match self.host.strip_prefix("*.") {
            Some(rest) => host
                .split_once('.')
                .is_some_and(|(label, of)| consists_of(label, "-_") && of == rest),
            None => host == self.host,
        };
        let is_port = self.port.as_deref() == Some("*") || self.port.as_deref() == port;
        scheme == self.scheme && is_same_host && is_port
    }
}

/// Scheme, host and port of an origin. The port has only digits, or is a star.
fn parts(origin: &str) -> Option<(&str, &str, Option<&str>)> {
    let (scheme, rest) = origin.split_once("://")?;
    let is_port = |port: &str| port == "*" || consists_of_digits(port);
    Some(match rest.rsplit_once(':').filter(|(_, port)| is_port(port)) {
        Some((host, port)) => (scheme, host, Some(port)),
        None => (scheme, rest, None),
    })
}

/// Whether the text is a name, an IPv4 address, or an IPv6 address in brackets.
fn is_host(text: &str) -> bool {
    match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(address) => consists_of(address, ":."),
        None => consists_of(text, "-._"),
    }
}

fn consists_of(text: &str, besides_letters: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || besides_letters.contains(c);
    !text.is_empty() && text.chars().all(fits)
}

fn consists_of_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// How long a browser may cache a preflight response.
const PREFLIGHT: Duration = Duration::from_secs(600);

/// The origins whose pages may use the hub, beside its own. Clones share them.
///
/// Pages of a listed origin may send cookies and tokens. With `*` in the list, pages of all others
/// may do what needs neither.
///
/// ```
/// use axum::http::HeaderValue;
/// use carafe_http::{Options, Origins};
///
/// let mut options = Options::default();
/// options.origins = Origins::new(&["https://app.example".parse()?]);
/// assert!(options.origins.allows(&HeaderValue::from_static("https://app.example")));
/// assert!(!options.origins.allows(&HeaderValue::from_static("https://other.example")));
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Origins(Arc<ArcSwap<Allowed>>);

#[derive(Debug, Default)]
struct Allowed {
    listed: Vec<Origin>,
    any: bool,
}

impl Origins {
    /// These origins.
    #[must_use]
    pub fn new(origins: &[Origin]) -> Self {
        let all = Self::default();
        all.set(origins);
        all
    }

    /// Replaces the origins.
    pub fn set(&self, origins: &[Origin]) {
        let (any, listed): (Vec<_>, Vec<_>) =
            origins.iter().cloned().partition(|origin| origin.0 == Kind::Any);
        self.0.store(Arc::new(Allowed { listed, any: !any.is_empty() }));
    }

    /// Whether pages of this origin may send cookies: its name or a pattern of it is listed.
    #[must_use]
    pub fn lists(&self, origin: &HeaderValue) -> bool {
        self.0.load().listed.iter().any(|listed| listed.includes(origin))
    }

    /// Whether pages of this origin may use the hub at all.
    #[must_use]
    pub fn allows(&self, origin: &HeaderValue) -> bool {
        self.0.load().any || self.lists(origin)
    }

    /// The CORS layer. It answers with the origin's name, never with `*`, and every response
    /// varies by origin: a cache must not serve the response for one origin to another.
    pub(crate) fn cors(&self) -> CorsLayer {
        let (allows, lists) = (self.clone(), self.clone());
        let query = Method::from_bytes(b"QUERY").expect("a word is a method");
        CorsLayer::new()
            .allow_origin(AllowOrigin::predicate(move |origin, _| allows.allows(origin)))
            .allow_credentials(AllowCredentials::predicate(move |origin, _| lists.lists(origin)))
            .allow_methods([Method::DELETE, Method::GET, Method::HEAD, Method::POST, query])
            // The origin decides. Libraries add headers of their own, such as `traceparent`.
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers([
                ETAG,
                LINK,
                POSITION,
                LAST_POSITION,
                LAST_KEY,
                LAST_EVENT_ID,
                MERCURE_LAST_EVENT_ID,
                RETRY_AFTER,
                WWW_AUTHENTICATE,
            ])
            .max_age(PREFLIGHT)
            // `Vary` is set for every response elsewhere, also for those that CORS does not touch.
            .vary([])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_and_a_host_and_perhaps_a_port() {
        for (text, kept) in [
            ("https://app.example", "https://app.example"),
            ("HTTPS://App.Example:443", "https://app.example"),
            ("http://localhost:5173", "http://localhost:5173"),
            ("http://[::1]:80", "http://[::1]"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("capacitor://localhost:80", "capacitor://localhost:80"),
        ] {
            let kept = Kind::One(HeaderValue::from_static(kept));
            assert_eq!(text.parse::<Origin>().unwrap().0, kept, "{text}");
        }
        for text in [
            "",
            "null",
            "app.example",
            "https://",
            "https://a/",
            "https://a b",
            "https://*",
            "https://*:*",
            "https://a.*",
            "https://*.*.a",
            "https://a*.b",
            "https://a:b",
            "https://a:",
            "https://u@a",
            "://a",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_star_stands_for_one_label_or_for_the_port() {
        for (pattern, origin, expected) in [
            ("https://*.app.example", "https://a.app.example", true),
            ("https://*.App.example:443", "https://a-1.app.example", true),
            ("https://*.app.example", "https://app.example", false),
            ("https://*.app.example", "https://a.b.app.example", false),
            ("https://*.app.example", "http://a.app.example", false),
            ("https://*.app.example", "https://a.app.example:8443", false),
            ("https://*.app.example", "https://.app.example", false),
            ("https://*.app.example", "https://x@y.app.example", false),
            ("https://*.app.example", "https://a.app.example.evil", false),
            ("https://*.app.example:*", "https://a.app.example:8443", true),
            ("http://localhost:*", "http://localhost:5173", true),
            ("http://localhost:*", "http://localhost", true),
            ("http://localhost:*", "http://localhost:5173x", false),
            ("http://localhost:*", "https://localhost:5173", false),
            ("http://[::1]:*", "http://[::1]:5173", true),
            ("http://[::1]:*", "http://[::2]:5173", false),
        ] {
            let origins = Origins::new(&[pattern.parse().unwrap()]);
            let origin = HeaderValue::from_static(origin);
            assert_eq!(origins.lists(&origin), expected, "{pattern} and {origin:?}");
        }
    }

    #[test]
    fn any_origin_is_allowed_by_the_star_but_listed_only_by_its_name() {
        let [a, b, null] =
            ["https://a.example", "https://b.example", "null"].map(HeaderValue::from_static);
        let origins = Origins::new(&["https://a.example".parse().unwrap()]);
        assert!(origins.lists(&a) && origins.allows(&a));
        assert!(!origins.lists(&b) && !origins.allows(&b) && !origins.allows(&null));
        origins.clone().set(&["*".parse().unwrap(), "https://b.example".parse().unwrap()]);
        assert!(origins.lists(&b) && origins.allows(&a) && origins.allows(&null));
        assert!(!origins.lists(&a) && !origins.lists(&null));
    }
}
