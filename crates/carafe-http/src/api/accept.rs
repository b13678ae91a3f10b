//! Which representation of a topic a client accepts (RFC 9110, 12.5.1).

use http::HeaderMap;
use http::header::ACCEPT;

/// Whether the client would rather have JSON than an event stream. Without `Accept`, and if it
/// accepts both alike, it is a stream: `curl` sends `*/*`.
pub(crate) fn prefers_json(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges: Vec<_> = values.flat_map(|value| value.split(',')).filter_map(range).collect();
    quality(&ranges, "application", "json") > quality(&ranges, "text", "event-stream")
}

/// A media range, and its quality in thousandths.
type Range<'a> = (&'a str, &'a str, u16);

fn range(text: &str) -> Option<Range<'_>> {
    let mut parts = text.split(';').map(str::trim);
    let (kind, subtype) = parts.next()?.split_once('/')?;
    let mut parameters = parts.filter_map(|parameter| parameter.split_once('='));
    let quality = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    let quality = quality.map_or(Some(1000), |(_, value)| thousandths(value.trim()))?;
    Some((kind, subtype, quality))
}

/// `0`, `1`, or a number between them with up to three digits.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    match whole {
        "0" if digits => format!("{fraction:0<3}").parse().ok(),
        "1" if digits && fraction.bytes().all(|byte| byte == b'0') => Some(1000),
        _ => None,
    }
}

/// The quality of a media type: that of the most specific range which includes it.
fn quality(ranges: &[Range<'_>], kind: &str, subtype: &str) -> u16 {
    let precedence = |range: &Range<'_>| match *range {
        ("*", "*", _) => Some(0),
        (of, "*", _) if of.eq_ignore_ascii_case(kind) => Some(1),
        (of, name, _) if of.eq_ignore_ascii_case(kind) && name.eq_ignore_ascii_case(subtype) => {
            Some(2)
        }
        _ => None,
    };
    let including = ranges.iter().filter_map(|range| Some((precedence(range)?, range.2)));
    including.max().map_or(0, |(_, quality)| quality)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(accept: &[&'static str], expected: bool) {
        let headers = accept.iter().map(|value| (ACCEPT, HeaderValue::from_static(value)));
        assert_eq!(prefers_json(&headers.collect()), expected, "{accept:?}");
    }

    #[test]
    fn json_is_sent_to_those_who_rather_have_it() {
        for accept in [
            "application/json",
            "Application/JSON",
            "application/*",
            "application/json;charset=utf-8",
            "text/event-stream;q=0.5, application/json",
            "text/event-stream; q=0.5, application/json; q=0.51",
            "application/json, */*;q=0.8",
            "*/*, text/event-stream;q=0",
            "text/html, application/json",
        ] {
            check(&[accept], true);
        }
        check(&["text/event-stream;q=0.1", "application/json"], true);
    }

    #[test]
    fn all_others_are_sent_a_stream() {
        check(&[], false);
        for accept in [
            "",
            "text/event-stream",
            "*/*",
            "text/html",
            "application/json;q=0",
            "application/json;q=0.4, */*;q=0.5",
            "application/json, text/event-stream",
            "application/json, text/plain, */*",
            "application/json;q=2",
            "application/json;q=0.1234",
            "json",
            "application/jsonp",
        ] {
            check(&[accept], false);
        }
    }
}
