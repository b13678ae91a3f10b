//! The last event ID of a client that reconnects.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::request::Parts;
use percent_encoding::percent_decode_str;

use crate::answer::headers::LAST_EVENT_ID;

/// The parameter for clients that cannot set the header.
#[cfg(feature = "hub")]
pub(crate) const PARAMETER: &str = "last_event_id";

/// The ID of the last event that the client received, for handlers with an
/// [`EventStream`](crate::EventStream): from the header `Last-Event-ID`, else from the query
/// parameter `last_event_id`, also spelt `lastEventId` and `Last-Event-ID`. `None` if the client
/// has received none.
///
/// ```
/// use carafe_http::{EventStream, LastEventId};
///
/// async fn count(LastEventId(last): LastEventId) -> EventStream {
///     let next = last.and_then(|id| id.parse().ok()).map_or(0, |last: u64| last + 1);
///     EventStream::new(move |events| async move {
///         for count in next..next + 3 {
///             events.data(count).await?;
///         }
///         Ok(())
///     })
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastEventId(pub Option<String>);

impl<S: Sync> FromRequestParts<S> for LastEventId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(in_header(&parts.headers).or_else(|| in_query(parts.uri.query()?))))
    }
}

/// The ID in the header. A browser that reconnects sends it, and repeats the URL that it was first
/// given: so the header wins over a parameter. An empty ID stands for none (WHATWG HTML, 9.2.6).
pub(crate) fn in_header(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(LAST_EVENT_ID)?;
    Some(String::from_utf8_lossy(id.as_bytes()).into_owned()).filter(|id| !id.is_empty())
}

/// The ID that a request resumes after: that of the header, else of the last parameter that is not
/// empty. Clients that cannot set the header append theirs to the URL that they were given.
#[cfg(feature = "hub")]
pub(crate) fn requested<'a>(
    headers: &HeaderMap,
    parameters: impl Iterator<Item = &'a str>,
) -> Option<String> {
    in_header(headers).or_else(|| parameters.filter(|id| !id.is_empty()).last().map(Into::into))
}

/// Whether the name is a spelling of the parameter that clients use: `last_event_id`,
/// `lastEventId`, `lastEventID`, `Last-Event-ID`.
pub(crate) fn is_parameter(name: &str) -> bool {
    let letters = name.bytes().filter(u8::is_ascii_alphanumeric);
    letters.map(|letter| letter.to_ascii_lowercase()).eq(*b"lasteventid")
}

fn in_query(query: &str) -> Option<String> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    // Leniently: an ID that cannot be decoded is a foreign ID, which leads to a gap, and not to an
    // error that `EventSource` would never recover from.
    let (_, value) = pairs.rfind(|(name, _)| is_parameter(name))?;
    let value = value.replace('+', " ");
    let id = percent_decode_str(&value).decode_utf8_lossy();
    Some(id.into_owned()).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[track_caller]
    fn check(header: Option<&str>, uri: &str, expected: Option<&str>) {
        let request = header
            .into_iter()
            .fold(Request::get(uri), |request, id| request.header("last-event-id", id));
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let id =
            futures_util::FutureExt::now_or_never(LastEventId::from_request_parts(&mut parts, &()));
        assert_eq!(id.unwrap().unwrap().0.as_deref(), expected, "{uri}");
    }

    #[test]
    fn the_header_wins_over_the_parameter_and_an_empty_id_is_none() {
        check(None, "/", None);
        check(Some("7"), "/?last_event_id=3", Some("7"));
        check(Some(""), "/?last_event_id=3", Some("3"));
        check(None, "/?a=b&last_event_id=a%20%26b", Some("a &b"));
        check(None, "/?last_event_id=", None);
        check(None, "/?last_event_id=7&lastEventId=8", Some("8"));
        check(None, "/?Last-Event-ID=9", Some("9"));
    }
}
