//! The pages at `/`, built into the program.

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};

/// Nothing from elsewhere, nothing inline: what arrives in events can never become a program.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// One file of the console.
pub(crate) struct File {
    pub(crate) path: &'static str,
    content_type: &'static str,
    body: &'static str,
}

/// The console: one page, its style, its script and its icon.
pub(crate) static CONSOLE: [File; 4] = [
    File {
        path: "/",
        content_type: "text/html; charset=utf-8",
        body: include_str!("console/console.html"),
    },
    File {
        path: "/console.css",
        content_type: "text/css; charset=utf-8",
        body: include_str!("console/console.css"),
    },
    File {
        path: "/console.js",
        content_type: "text/javascript; charset=utf-8",
        body: include_str!("console/console.js"),
    },
    File {
        path: "/favicon.svg",
        content_type: "image/svg+xml",
        body: include_str!("console/favicon.svg"),
    },
];

const PLAIN: File = File {
    path: "/",
    content_type: "text/html; charset=utf-8",
    body: "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
        <meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
        <title>Carafe</title>\n<h1>Carafe</h1>\n\
        <p>This is a hub for Server-Sent Events. Streams are under <code>/events</code>.</p>\n</html>\n",
};

/// The page of a hub in production: it tells what this is, and no more.
pub(crate) async fn plain() -> Response {
    PLAIN.response()
}

impl File {
    pub(crate) fn response(&self) -> Response {
        let headers = [
            (CONTENT_TYPE, self.content_type),
            (CONTENT_SECURITY_POLICY, POLICY),
            // A new version of the program is a new page.
            (CACHE_CONTROL, "no-cache"),
        ];
        (headers, self.body).into_response()
    }
}
