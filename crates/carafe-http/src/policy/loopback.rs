//! Restricts a hub on a developer's machine to programs and pages of that machine.

use axum::extract::Request;
use http::Uri;
use http::header::{HOST, ORIGIN};
use http::uri::Authority;

use crate::answer::host::is_loopback;
use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;

/// Rejects requests of other machines' names and pages.
///
/// Any website can send requests to a loopback address. A foreign name in `Host` reveals DNS
/// rebinding, and a foreign `Origin` a page that posts here.
pub(crate) fn check(request: &Request) -> Result<(), Problem> {
    let host = host(request)?;
    if host.as_ref().is_some_and(|host| !is_loopback(host.host())) {
        return Err(forbidden(
            "this hub answers on loopback names only: use localhost or 127.0.0.1",
        ));
    }
    if let Some(origin) = request.headers().get(ORIGIN) {
        let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
        if origin.as_ref().and_then(Uri::authority) != host.as_ref() {
            return Err(forbidden(
                "pages of other origins may not use this hub: serve the page from it",
            ));
        }
    }
    Ok(())
}

/// The authority of the URL over HTTP/2, else the `Host`. Programs may omit it, browsers never
/// do.
fn host(request: &Request) -> Result<Option<Authority>, Problem> {
    if let Some(authority) = request.uri().authority() {
        return Ok(Some(authority.clone()));
    }
    let Some(host) = request.headers().get(HOST) else { return Ok(None) };
    let host = host.to_str().ok().and_then(|host| host.parse().ok());
    host.map(Some).ok_or_else(|| forbidden("the Host cannot be read: use localhost or 127.0.0.1"))
}

fn forbidden(detail: &'static str) -> Problem {
    Problem::of(ProblemKind::NotLoopback, detail)
}
