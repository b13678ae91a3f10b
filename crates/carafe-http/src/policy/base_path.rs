//! The path under which a hub has its endpoints.

use std::fmt;
use std::str::FromStr;

/// A path such as `/sse` or `/live/sse`, without a slash at its end. The default is empty.
///
/// ```
/// use carafe_http::{BasePath, Options};
///
/// let mut options = Options::default();
/// options.base_path = "/sse".parse()?;
/// assert!("sse".parse::<BasePath>().is_err());
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BasePath(String);

impl BasePath {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BasePath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = text.strip_suffix('/').unwrap_or(text);
        let mut segments = path.split('/');
        let is_path = segments.next() == Some("") && segments.all(is_plain);
        is_path
            .then(|| Self(path.into()))
            .ok_or("expected a path such as /sse, of letters, digits, `-`, `.`, `_` and `~`")
    }
}

impl fmt::Display for BasePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a segment is written in one way only: nothing in it may be percent-encoded, and nothing
/// has a meaning for routers.
fn is_plain(segment: &str) -> bool {
    let is_unreserved = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    !matches!(segment, "" | "." | "..") && segment.chars().all(is_unreserved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_path_begins_with_a_slash_and_has_plain_segments() {
        for (text, path) in
            [("", ""), ("/", ""), ("/sse", "/sse"), ("/a/b.c-d_e~f/", "/a/b.c-d_e~f")]
        {
            assert_eq!(text.parse::<BasePath>().unwrap().as_str(), path, "{text}");
        }
        for text in [
            "sse",
            "//sse",
            "/sse//",
            "/a/../b",
            "/.",
            "/{a}",
            "/a*",
            "/a%20b",
            "/a?b",
            "http://x/a",
        ] {
            assert!(text.parse::<BasePath>().is_err(), "{text}");
        }
    }
}
