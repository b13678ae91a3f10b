//! The update after which a subscription resumes.

use carafe_hub::{Access, Client, Start};
use carafe_log::ReadError;
use http::request::Parts;
use http::{HeaderName, HeaderValue};

use crate::answer::headers::{LAST_EVENT_ID, MERCURE_LAST_EVENT_ID};
use crate::api::last_event_id::{self, is_parameter};
use crate::mercure::form_data::FormData;
use crate::mercure::state::Adapter;
use crate::mercure::version::Version;

/// The ID that stands for the start of history.
const EARLIEST: &str = "earliest";

/// Where a subscription starts, and the response header that says so.
#[derive(Default)]
pub(crate) struct Cursor {
    pub(crate) start: Start,
    pub(crate) header: Option<(HeaderName, HeaderValue)>,
}

impl Cursor {
    /// Looks the requested ID up, also if this node has to read its update first. If it is not in
    /// the history, or this subscriber may not see its update, nothing is replayed, and the header
    /// says `earliest`: then the client knows that updates may be missing.
    pub(crate) async fn find(
        adapter: &Adapter,
        version: Version,
        parameters: &FormData,
        parts: &Parts,
        access: &Access,
        client: Option<Client>,
    ) -> Result<Self, ReadError> {
        let Some(id) = requested(parameters, parts) else {
            // Of 1.0, an empty cursor is one: the stream begins with new updates, and says so.
            let says = version == Version::One && has_cursor(parameters, parts);
            let earliest = || (header(version), HeaderValue::from_static(EARLIEST));
            return Ok(Self { start: Start::Tail, header: says.then(earliest) });
        };
        let (start, stated) = if id == EARLIEST {
            (Start::Earliest, EARLIEST)
        } else {
            match adapter.app.hub.find_id(&id, access, client).await? {
                Some(position) => (Start::After(position), &*id),
                None => (Start::Tail, EARLIEST),
            }
        };
        // An ID that was found consists of valid header characters.
        let value = HeaderValue::from_bytes(stated.as_bytes()).ok();
        Ok(Self { start, header: value.map(|value| (header(version), value)) })
    }
}

/// The parameter has a name of its own in each version, and clients use further spellings of it:
/// all are accepted in both.
fn requested(parameters: &FormData, parts: &Parts) -> Option<String> {
    let in_query = parameters.pairs().filter(|(name, _)| is_parameter(name)).map(|(_, id)| id);
    last_event_id::requested(&parts.headers, in_query)
}

fn has_cursor(parameters: &FormData, parts: &Parts) -> bool {
    parts.headers.contains_key(LAST_EVENT_ID) || parameters.names().any(is_parameter)
}

fn header(version: Version) -> HeaderName {
    match version {
        Version::Zero => LAST_EVENT_ID,
        Version::One => MERCURE_LAST_EVENT_ID,
    }
}
