//! Keeps the web out of a hub on a developer's machine.

use std::net::IpAddr;

use axum::extract::Request;
use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{StatusCode, Uri};

use crate::answer::problem::Problem;

/// Refuses what others than this machine's own programs and pages ask for.
///
/// Any website may send requests to a loopback address. Its name in `Host` gives away one that
/// resolves to loopback (DNS rebinding), and its `Origin` gives away one that posts here.
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

/// The authority of the URL on HTTP/2, the `Host` before. Only programs, never browsers, leave it
/// out.
fn host(request: &Request) -> Result<Option<Authority>, Problem> {
    if let Some(authority) = request.uri().authority() {
        return Ok(Some(authority.clone()));
    }
    let Some(host) = request.headers().get(HOST) else { return Ok(None) };
    let host = host.to_str().ok().and_then(|host| host.parse().ok());
    host.map(Some).ok_or_else(|| forbidden("the Host cannot be read: use localhost or 127.0.0.1"))
}

/// Whether a host in a URL is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn forbidden(detail: &'static str) -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "urn:carafe:problem:not-loopback",
        "Not from this machine",
        detail,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.8.8.8", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "example.com",
            "localhost.example.com",
            "10.0.0.1",
            "0.0.0.0",
            "[::]",
            "127.0.0.1.example.com",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
