//! Finds the token of a request.

use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Uri};
use percent_encoding::percent_decode_str;

use crate::answer::headers::only_value;
use crate::answer::problem::Problem;

/// The query parameter that may carry a token.
const PARAMETER: &str = "access_token";

/// Where tokens are taken from, besides `Authorization: Bearer`.
///
/// ```
/// use carafe_http::Options;
/// use carafe_http::auth::Credentials;
///
/// let mut credentials = Credentials::default();
/// credentials.cookie = "session".into();
/// let mut options = Options::default();
/// options.credentials = credentials;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credentials {
    /// The name of the cookie that may carry a token.
    pub cookie: String,
    /// Whether the query parameter `access_token` is accepted. URLs end up in browser histories
    /// and in the logs of proxies.
    pub in_query: bool,
}

impl Default for Credentials {
    /// The cookie `carafe_token`, and no parameter.
    fn default() -> Self {
        Self { cookie: "carafe_token".into(), in_query: false }
    }
}

/// A token of a request, not verified yet.
pub(crate) struct FoundToken {
    pub(crate) text: String,
    /// Whether it was in a cookie, which browsers send with requests of any page.
    pub(crate) in_cookie: bool,
}

impl Credentials {
    /// Takes the token out of the request: from the header, else the cookie, else the query.
    pub(crate) fn take(&self, parts: &mut Parts) -> Result<Option<FoundToken>, Problem> {
        // Removed first, and even if another place wins: it must not reach logs.
        let in_query = if self.in_query { take_from_query(&mut parts.uri)? } else { None };
        if let Some(token) = bearer(&parts.headers)? {
            return Ok(Some(FoundToken { text: token.into(), in_cookie: false }));
        }
        if let Some(token) = cookie(&parts.headers, &self.cookie)? {
            return Ok(Some(FoundToken { text: token.into(), in_cookie: true }));
        }
        Ok(in_query.map(|text| FoundToken { text, in_cookie: false }))
    }
}

/// The token of `Authorization: Bearer` (RFC 6750, 2.1).
pub(crate) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = only_value(headers, &AUTHORIZATION) else { return Ok(None) };
    let token = value.and_then(|value| value.split_once(' ')).and_then(|(scheme, token)| {
        // RFC 9110, 11.4: one space or more between the scheme and the token.
        let token = token.trim_matches(' ');
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && !token.contains(' '))
            .then_some(token)
    });
    let malformed = || {
        Problem::bad_token("`Authorization` is not `Bearer` with one token: send it so, and once")
    };
    token.map(Some).ok_or_else(malformed)
}

/// The value of a cookie. HTTP/2 may send each cookie in a header field of its own.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let texts = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs =
        texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut values =
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.trim_matches('"'));
    let first = values.next();
    // A page on a sibling domain can set a second cookie of the same name, and the order says
    // nothing.
    if values.next().is_some() {
        return Err(Problem::bad_token(format!(
            "there are two cookies `{name}`: keep one of them"
        )));
    }
    Ok(first)
}

/// Removes the parameter from the URL, so that neither handlers nor logs see it.
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
    let token = token.map_err(|_| {
        Problem::bad_token(format!("`{PARAMETER}` is not a token: send the token as it is"))
    })?;
    let token = Some(token.into_owned());
    let mut parts = uri.clone().into_parts();
    // The other pairs stay as they were written, escapes and all.
    let rest = format!("{}?{}", uri.path(), others.join("&"));
    parts.path_and_query = Some(rest.parse::<PathAndQuery>().expect("a part of a query is one"));
    *uri = Uri::from_parts(parts).expect("with another query it stays a URL");
    Ok(token)
}
