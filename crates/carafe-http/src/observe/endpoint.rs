//! What a request asked for, as a label of the metrics.

use http::{Method, Uri};

/// The endpoint of the Mercure adapter. It is named here, because rejected requests are counted
/// before they are routed.
pub(crate) const MERCURE: &str = "/.well-known/mercure";

/// `publish`, `subscribe`, `erase` or `other`.
///
/// An app may mount the router under any path; axum removes that prefix before this is called.
pub(crate) fn label(method: &Method, uri: &Uri) -> &'static str {
    let path = uri.path();
    match method.as_str() {
        _ if !path.starts_with("/events") && path != MERCURE => "other",
        "POST" => "publish",
        "GET" | "QUERY" => "subscribe",
        "DELETE" => "erase",
        _ => "other",
    }
}
