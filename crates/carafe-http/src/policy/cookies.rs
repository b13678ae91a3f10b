//! Which pages may use a cookie.
//!
//! Browsers send a cookie with every request, whichever page makes it. So a request that changes
//! something takes a token from a cookie only if the page is of the hub's own host or of a listed
//! origin.

use http::header::{HOST, ORIGIN};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, Method, Uri};

use crate::answer::headers::only_value;
use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::policy::origins::Origins;

/// Rejects a request that changes something, whose token is in a cookie, from a foreign page.
#[cfg(feature = "auth")]
pub(crate) fn check_origin(parts: &Parts, origins: &Origins) -> Result<(), Problem> {
    let detail = "pages of this origin may not publish with a cookie: publish from an allowed \
                  origin, or with `Authorization: Bearer`";
    check(parts, origins, detail)
}

/// Rejects a request that changes something from a foreign page, in the name of a user that the app
/// may have recognised by a cookie. Browsers name the origin in all such requests; other clients
/// need not.
pub(crate) fn check_page(parts: &Parts, origins: &Origins) -> Result<(), Problem> {
    if !parts.headers.contains_key(ORIGIN) {
        return Ok(());
    }
    let detail =
        "pages of this origin may not publish in a user's name: publish from an allowed origin";
    check(parts, origins, detail)
}

fn check(parts: &Parts, origins: &Origins, detail: &'static str) -> Result<(), Problem> {
    let is_read_only = matches!(parts.method, Method::GET | Method::HEAD);
    match is_read_only || may_send_cookies(parts, origins, || None) {
        true => Ok(()),
        false => Err(Problem::of(ProblemKind::ForeignOrigin, detail)),
    }
}

/// Whether the page is of the hub's own host or of a listed origin. `otherwise` supplies the origin
/// if the request has no `Origin`.
pub(crate) fn may_send_cookies(
    parts: &Parts,
    origins: &Origins,
    otherwise: impl FnOnce() -> Option<String>,
) -> bool {
    let origin = match only_value(&parts.headers, &ORIGIN) {
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
    let host = || only_value(&parts.headers, &HOST)??.parse().ok();
    parts.uri.authority().cloned().or_else(host)
}
