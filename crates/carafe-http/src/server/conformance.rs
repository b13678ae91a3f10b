//! Requirements of HTTP on requests and responses that hyper leaves to the application.

use axum::body::HttpBody;
use axum::response::{IntoResponse, Response};
use http::header::{CONNECTION, HOST};
use http::uri::Authority;
use http::{HeaderValue, Request, Uri, Version};

use crate::answer::headers::secure;
use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::observe::endpoint;
use crate::observe::metrics::Metrics;

/// Rejects and counts a request that violates HTTP. Its connection is closed: where the next
/// request begins is not certain.
pub(crate) fn refuse<B>(request: &Request<B>, metrics: &Metrics) -> Option<Response> {
    let problem = check_host(request).err()?;
    metrics.refused(endpoint::label(request.method(), request.uri()), problem.reason());
    let mut answer = problem.into_response();
    secure(answer.headers_mut());
    // HTTP/2 has no such field (RFC 9113, 8.2.2), and its frames show where a request ends.
    if request.version() != Version::HTTP_2 {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Some(answer)
}

/// Checks that the request has exactly one valid host (RFC 9112, 3.2; RFC 9113, 8.3.1).
/// Otherwise a proxy and the hub could understand different hosts.
fn check_host<B>(request: &Request<B>) -> Result<(), Problem> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (uri, version) = (request.uri(), request.version());
    match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => Err(bad_host("there is more than one `Host`: send one")),
        (Some(host), None) if !names_host(host) || !agrees(host, uri, version) => Err(bad_host(
            "the `Host` is none, or another than in the URL: send a host and, if need be, a port",
        )),
        (None, _)
            if version == Version::HTTP_11
                || (version == Version::HTTP_2 && uri.authority().is_none()) =>
        {
            Err(bad_host("there is no `Host`: send the name under which the hub is reached"))
        }
        _ if uri.authority().is_some_and(|authority| !is_host(authority)) => Err(bad_host(
            "the URL has more than a host and a port before its path: leave the rest out",
        )),
        _ => Ok(()),
    }
}

/// Whether a `Host` is valid. An empty one stands for a URL without a host.
fn names_host(host: &HeaderValue) -> bool {
    host.is_empty() || authority(host).is_some_and(|host| is_host(&host))
}

fn authority(host: &HeaderValue) -> Option<Authority> {
    host.to_str().ok()?.parse().ok()
}

/// Whether it is a host with an optional port, and no user name (RFC 9110, 4.2.4).
fn is_host(authority: &Authority) -> bool {
    let rest = authority.as_str().strip_prefix(authority.host());
    let is_port = |rest: &str| {
        rest.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()))
    };
    rest.is_some_and(|rest| rest.is_empty() || is_port(rest))
}

/// Over HTTP/2, `Host` and `:authority` may both be there and must agree. Over HTTP/1.1, an
/// absolute URL overrides `Host`.
fn agrees(host: &HeaderValue, uri: &Uri, version: Version) -> bool {
    let Some(expected) = uri.authority().filter(|_| version == Version::HTTP_2) else {
        return true;
    };
    // The port may be left out in one of the two.
    authority(host).is_some_and(|host| host.host().eq_ignore_ascii_case(expected.host()))
}

fn bad_host(detail: &'static str) -> Problem {
    Problem::of(ProblemKind::BadHost, detail)
}

/// Adapts the response to the version of the request. A response to HTTP/1.0 without a length
/// ends with the connection. hyper closes it, but would still send `Connection: keep-alive` if the
/// client has asked for that, or the app has set it.
pub(crate) fn of_version(version: Version, mut answer: Response) -> Response {
    if version == Version::HTTP_10 && answer.body().size_hint().exact().is_none() {
        answer.headers_mut().remove(CONNECTION);
        *answer.version_mut() = Version::HTTP_10;
    }
    answer
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    /// Whether a request is accepted.
    fn is_taken(version: Version, uri: &str, hosts: &[&str]) -> bool {
        let request = Request::builder().version(version).uri(uri);
        let request = hosts.iter().fold(request, |request, host| request.header(HOST, *host));
        check_host(&request.body(()).unwrap()).is_ok()
    }

    #[test]
    fn http_1_1_has_one_host() {
        for hosts in [&["a"][..], &["a:80"], &["[::1]:3000"], &["127.0.0.1"], &[""], &["a:"]] {
            assert!(is_taken(Version::HTTP_11, "/", hosts), "{hosts:?}");
        }
        for hosts in [&[][..], &["a", "a"], &["a", "b"], &["", ""]] {
            assert!(!is_taken(Version::HTTP_11, "/", hosts), "{hosts:?}");
            assert!(!is_taken(Version::HTTP_11, "http://a/", hosts), "{hosts:?}");
        }
        assert!(is_taken(Version::HTTP_11, "http://a/", &["b"]), "the URL's own counts");
        assert!(!is_taken(Version::HTTP_11, "http://user@a/", &["a"]));
    }

    #[test]
    fn a_host_that_is_none_is_refused_in_every_version() {
        for host in [
            "user@a", "a/b", "a b", "a,b c", "a:x", "a:80:80", "http://a", "a?b", "a#b", "a\\b",
            "[::1", ":80@a",
        ] {
            for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
                assert!(!is_taken(version, "/", &[host]), "{host}");
            }
        }
    }

    #[test]
    fn http_1_0_needs_no_host_and_has_no_two() {
        assert!(is_taken(Version::HTTP_10, "/", &[]) && is_taken(Version::HTTP_10, "/", &["a"]));
        assert!(!is_taken(Version::HTTP_10, "/", &["a", "a"]));
    }

    #[test]
    fn http_2_has_an_authority_or_a_host_and_they_agree() {
        for hosts in [&[][..], &["a"], &["A:443"]] {
            assert!(is_taken(Version::HTTP_2, "https://a/", hosts), "{hosts:?}");
        }
        assert!(is_taken(Version::HTTP_2, "/", &["a"]));
        for (uri, hosts) in [
            ("/", &[][..]),
            ("https://a/", &["b"]),
            ("https://a/", &["a", "a"]),
            ("https://u@a/", &[]),
        ] {
            assert!(!is_taken(Version::HTTP_2, uri, hosts), "{uri} {hosts:?}");
        }
    }

    #[test]
    fn an_answer_to_http_1_0_that_has_no_length_does_not_keep_the_connection() {
        let stream = || {
            let body = Body::new(crate::answer::headers::OfUnknownLength);
            ([(CONNECTION, "keep-alive")], body).into_response()
        };
        let answer = of_version(Version::HTTP_10, stream());
        assert_eq!((answer.version(), answer.headers().get(CONNECTION)), (Version::HTTP_10, None));
        let answer = of_version(Version::HTTP_11, stream());
        assert_eq!(answer.version(), Version::HTTP_11);
        assert_eq!(answer.headers()[CONNECTION], "keep-alive");
        assert_eq!(
            of_version(Version::HTTP_10, "whole".into_response()).version(),
            Version::HTTP_11
        );
    }
}
