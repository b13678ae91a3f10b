//! Where a request has its token.

use http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use percent_encoding::percent_decode_str;

use crate::answer::problem::Problem;
use crate::policy::origins::Origins;

/// The parameter that may carry a token.
const PARAMETER: &str = "access_token";

/// Where tokens are taken from beside `Authorization: Bearer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The cookie that may carry a token.
    pub cookie: String,
    /// Whether the query parameter `access_token` is taken too. URLs end up in histories and in the
    /// logs of proxies.
    pub in_query: bool,
}

impl Default for Credentials {
    /// The cookie `carafe_token`, and no parameter.
    fn default() -> Self {
        Self { cookie: "carafe_token".into(), in_query: false }
    }
}

impl Credentials {
    /// Takes the token out of the request: from the header, else the cookie, else the query.
    /// A cookie publishes for pages of the hub's own host and of these `origins` alone.
    pub(crate) fn take(
        &self,
        parts: &mut Parts,
        origins: &Origins,
    ) -> Result<Option<String>, Problem> {
        let in_query = if self.in_query { take_from_query(&mut parts.uri)? } else { None };
        if let Some(token) = bearer(&parts.headers)? {
            return Ok(Some(token.into()));
        }
        if let Some(token) = cookie(&parts.headers, &self.cookie)? {
            check_origin(parts, origins)?;
            return Ok(Some(token.into()));
        }
        Ok(in_query)
    }
}

/// Browsers send a cookie whichever page asks them to, so what changes something needs a page that
/// may.
fn check_origin(parts: &Parts, origins: &Origins) -> Result<(), Problem> {
    if matches!(parts.method, Method::GET | Method::HEAD)
        || may_send_cookies(parts, origins, || None)
    {
        return Ok(());
    }
    let detail = "pages of this origin may not publish by a cookie: publish from one that may, or with \
         `Authorization: Bearer`";
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "urn:carafe:problem:foreign-origin",
        "Not from this origin",
        detail,
    ))
}

/// Whether a page asks of the hub's own host, or of an origin that is listed; `otherwise` tells the
/// origin if the request does not.
pub(crate) fn may_send_cookies(
    parts: &Parts,
    origins: &Origins,
    otherwise: impl FnOnce() -> Option<String>,
) -> bool {
    let origin = match one(&parts.headers, &ORIGIN) {
        Some(origin) => origin.map(Into::into),
        None => otherwise(),
    };
    origin.is_some_and(|origin| is_own(&origin, parts) || is_listed(&origin, origins))
}

fn is_own(origin: &str, parts: &Parts) -> bool {
    let page: Option<Uri> = origin.parse().ok();
    let page = page.as_ref().filter(|page| page.scheme().is_some()).and_then(Uri::authority);
    page.is_some() && page == host(parts).as_ref()
}

fn is_listed(origin: &str, origins: &Origins) -> bool {
    HeaderValue::from_str(origin).is_ok_and(|origin| origins.lists(&origin))
}

/// The authority of the URL on HTTP/2, the `Host` before.
fn host(parts: &Parts) -> Option<Authority> {
    let host = || one(&parts.headers, &HOST)??.parse().ok();
    parts.uri.authority().cloned().or_else(host)
}

/// The only value of a header as text: `Some(None)` if it is no text, or there are several.
fn one<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    Some(first.to_str().ok().filter(|_| values.next().is_none()))
}

/// The token of `Authorization: Bearer`, RFC 6750, 2.1.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = one(headers, &AUTHORIZATION) else { return Ok(None) };
    let token = value.and_then(|value| value.split_once(' ')).and_then(|(scheme, token)| {
        let token = token.trim_matches(' ');
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && !token.contains(' '))
            .then_some(token)
    });
    let malformed = || {
        Problem::bad_token("`Authorization` is not one `Bearer` with one token: send it so, once")
    };
    token.map(Some).ok_or_else(malformed)
}

/// The value of a cookie. HTTP/2 may send each in a header of its own.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let texts = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs =
        texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut values =
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.trim_matches('"'));
    let first = values.next();
    if values.next().is_some() {
        return Err(Problem::bad_token(format!(
            "there are two cookies `{name}`: keep one of them"
        )));
    }
    Ok(first)
}

/// Takes the parameter out of the URL, so that nothing that comes later sees it.
fn take_from_query(uri: &mut Uri) -> Result<Option<String>, Problem> {
    let Some(query) = uri.query() else { return Ok(None) };
    let is_token = |pair: &&str| pair.split('=').next() == Some(PARAMETER);
    let (tokens, others): (Vec<_>, Vec<_>) = query.split('&').partition(is_token);
    let token = match tokens[..] {
        [] => return Ok(None),
        [pair] => {
            percent_decode_str(pair.split_once('=').map_or("", |(_, value)| value)).decode_utf8()
        }
        _ => {
            return Err(Problem::bad_token(format!(
                "`{PARAMETER}` is given more than once: give it once"
            )));
        }
    };
    let token = token
        .map_err(|_| Problem::bad_token(format!("`{PARAMETER}` is no token: give it as it is")))?;
    let token = Some(token.into_owned());
    let mut parts = uri.clone().into_parts();
    let rest = format!("{}?{}", uri.path(), others.join("&"));
    parts.path_and_query = Some(rest.parse::<PathAndQuery>().expect("a part of a query is one"));
    *uri = Uri::from_parts(parts).expect("with another query it stays a URL");
    Ok(token)
}
