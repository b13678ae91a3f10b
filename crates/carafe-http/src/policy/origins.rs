//! The origins whose pages may use the hub (CORS).

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method};
use tower_http::cors::{AllowCredentials, AllowOrigin, CorsLayer};

use crate::answer::headers::{LAST_EVENT_ID, MERCURE_LAST_EVENT_ID, POSITION};

/// An origin such as `https://app.example`, or `*` for any.
///
/// ```
/// use carafe_http::Origin;
///
/// // Browsers leave out the default port, and so does an origin.
/// let origin: Origin = "https://app.example:443".parse()?;
/// assert_eq!(origin, "https://app.example".parse()?);
/// assert!("app.example".parse::<Origin>().is_err());
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(HeaderValue);

impl FromStr for Origin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = "write an origin as browsers send it, such as https://app.example or \
         http://localhost:5173, or *";
        if text == "*" {
            return Ok(Self(HeaderValue::from_static("*")));
        }
        let (scheme, host) = text.split_once("://").ok_or(bad)?;
        let word = |text: &str, beside: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || beside.contains(c);
            !text.is_empty() && text.chars().all(fits)
        };
        if !word(scheme, "+-.") || !word(host, "-._:[]") {
            return Err(bad);
        }
        // Browsers write scheme and host in lower case, and the header is compared as it is.
        let text = text.to_ascii_lowercase();
        // Browsers omit the default port.
        let usual = if text.starts_with("https:") { ":443" } else { ":80" };
        HeaderValue::from_str(text.strip_suffix(usual).unwrap_or(&text)).map(Self).map_err(|_| bad)
    }
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
    listed: Vec<HeaderValue>,
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
            origins.iter().map(|origin| origin.0.clone()).partition(|origin| origin == "*");
        self.0.store(Arc::new(Allowed { listed, any: !any.is_empty() }));
    }

    /// Whether pages of this origin may send cookies: it is listed by name.
    #[must_use]
    pub fn lists(&self, origin: &HeaderValue) -> bool {
        self.0.load().listed.contains(origin)
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
            .allow_methods([Method::GET, Method::HEAD, Method::POST, query])
            .allow_headers([AUTHORIZATION, CONTENT_TYPE, LAST_EVENT_ID])
            .expose_headers([
                POSITION,
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
            ("*", "*"),
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().0, kept, "{text}");
        }
        for text in [
            "",
            "null",
            "app.example",
            "https://",
            "https://a/",
            "https://a b",
            "https://*.a",
            "https://u@a",
            "://a",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
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
