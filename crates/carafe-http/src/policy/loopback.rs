//! Restricts a hub on a developer's machine to programs and pages of that machine.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use http::Uri;
use http::header::{HOST, ORIGIN};
use http::uri::Authority;

use crate::answer::host::is_loopback;
use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::policy::address::UNIX_PEER;

/// Rejects requests from other machines, and of their names and pages.
///
/// The peer counts: a hub may listen on an address that others reach. Any website can send requests
/// to a loopback address. A foreign name in `Host` reveals DNS rebinding, and a foreign `Origin` a
/// page that posts here.
pub(crate) fn check(request: &Request) -> Result<(), Problem> {
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>()
        && !is_of_this_machine(peer.ip())
    {
        return Err(forbidden(
            "this hub answers programs on its own machine only: run `carafe serve` for others",
        ));
    }
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
                "pages of other origins may not use this hub: run `carafe serve --allow-origin` \
                 for them",
            ));
        }
    }
    Ok(())
}

/// Whoever may open a Unix socket is on this machine.
fn is_of_this_machine(peer: IpAddr) -> bool {
    peer.to_canonical().is_loopback() || peer == UNIX_PEER.ip()
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

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn peers_of_other_machines_are_rejected_whatever_host_they_name() {
        for (peer, is_allowed) in [
            ("127.0.0.1:5000", true),
            ("127.8.8.8:5000", true),
            ("[::1]:5000", true),
            ("[::ffff:127.0.0.1]:5000", true),
            ("0.0.0.0:0", true),
            ("192.0.2.7:5000", false),
            ("[2001:db8::7]:5000", false),
            ("[::ffff:192.0.2.7]:5000", false),
        ] {
            let mut request = Request::new(Body::empty());
            request.headers_mut().insert(HOST, "localhost".parse().unwrap());
            request.extensions_mut().insert(ConnectInfo(peer.parse::<SocketAddr>().unwrap()));
            assert_eq!(check(&request).is_ok(), is_allowed, "{peer}");
        }
    }
}
