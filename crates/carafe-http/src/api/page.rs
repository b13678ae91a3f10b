//! The pages at `/`, compiled into the program.

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};

/// Nothing from other origins and nothing inline: the data of an event can never become a
/// script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src \
    'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// One file of the console.
pub(crate) struct File {
    pub(crate) path: &'static str,
    content_type: &'static str,
    body: &'static str,
}

/// A module of the console's script.
macro_rules! module {
    ($name:literal) => {
        File {
            path: concat!("/console/", $name, ".js"),
            content_type: "text/javascript; charset=utf-8",
            body: include_str!(concat!("console/", $name, ".js")),
        }
    };
}

/// The console: its page and icon, and below `/console`, its style and the modules of its script.
/// All refer to each other by relative URLs, so that the console works under any prefix.
pub(crate) static CONSOLE: [File; 20] = [
    File {
        path: "/",
        content_type: "text/html; charset=utf-8",
        body: include_str!("console/console.html"),
    },
    File {
        path: "/favicon.svg",
        content_type: "image/svg+xml",
        body: include_str!("console/favicon.svg"),
    },
    File {
        path: "/console/console.css",
        content_type: "text/css; charset=utf-8",
        body: include_str!("console/console.css"),
    },
    module!("code"),
    module!("console"),
    module!("demo"),
    module!("dom"),
    module!("filter"),
    module!("json"),
    module!("list"),
    module!("pace"),
    module!("parser"),
    module!("problem"),
    module!("publish"),
    module!("row"),
    module!("status"),
    module!("store"),
    module!("stream"),
    module!("topics"),
    module!("view"),
];

const PLAIN: File = File {
    path: "/",
    content_type: "text/html; charset=utf-8",
    body: "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
        <meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"color-scheme\" \
        content=\"light dark\">\n\
        <title>Carafe</title>\n<h1>Carafe</h1>\n\
        <p>This is a hub for Server-Sent Events. Streams are under \
        <code>/events</code>.</p>\n</html>\n",
};

/// The page of a hub in production, which says only what this is.
pub(crate) async fn plain() -> Response {
    PLAIN.response()
}

impl File {
    pub(crate) fn response(&self) -> Response {
        let headers = [
            (CONTENT_TYPE, self.content_type),
            (CONTENT_SECURITY_POLICY, POLICY),
            // Revalidated, since a new version of the program has a new page.
            (CACHE_CONTROL, "no-cache"),
        ];
        (headers, self.body).into_response()
    }
}
