//! Finds events by the IDs that their readers know.

use std::sync::Arc;

use carafe_log::{Access, BlockLimit, Entry, ExternalId, Publication, ReadError};
use carafe_protocol::{EventId, Offset, Position, TopicMatcher};

use crate::client::Client;
use crate::hub::Hub;

const ONE_ENTRY: BlockLimit = BlockLimit { entries: 1, bytes: usize::MAX };

/// The ID of an event in formats whose events have external IDs: its publisher's, or else its
/// position.
///
/// ```
/// use std::time::SystemTime;
/// use carafe_hub::event_id;
/// use carafe_log::{Entry, ExternalId, Publication};
/// use carafe_protocol::{Position, Topic};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let publication = Publication::new(Topic::new("orders/42")?, "paid");
/// let position: Position = "000000000001-2-00000003".parse()?;
/// let mut entry = Entry { position, time: SystemTime::now(), publication };
/// assert_eq!(event_id(&entry).as_str(), "000000000001-2-00000003");
///
/// entry.publication = entry.publication.with_external_id(ExternalId::new("urn:order:42")?);
/// assert_eq!(event_id(&entry).as_str(), "urn:order:42");
/// # Ok(()) }
/// ```
#[must_use]
pub fn event_id(entry: &Entry) -> EventId {
    let id = entry.publication.external_id().map(ToString::to_string);
    let text = id.unwrap_or_else(|| entry.position.to_string());
    EventId::new(text).expect("neither has a control character")
}

impl Hub {
    /// The position of the event with this ID, as [`event_id`] returns it: the earliest, if
    /// publishers used the ID several times. An event that `access` does not show is not found. The
    /// log is read when `client` gets a permit.
    ///
    /// A position is found as long as its event is in the history, also when the event was erased
    /// or compacted: its readers continue after it. An erasure also removes the external ID of the
    /// event.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn find_id(
        &self,
        id: &str,
        access: &Access,
        client: Option<Client>,
    ) -> Result<Option<Position>, ReadError> {
        let _permit = self.inner.replay_permits.acquire(client).await;
        if let Ok(id) = ExternalId::new(id)
            && let Some(position) = self.inner.log.find_external_id(id, access.clone()).await?
        {
            return Ok(Some(position));
        }
        let Ok(position) = id.parse::<Position>() else { return Ok(None) };
        let entry = self.entry_at(position).await?;
        // Checked against the access: an ID must not reveal that a private event exists. What is
        // left of an event that was removed has its topics and its privacy.
        let is_shown = |entry: &Arc<Entry>| {
            let publication = &entry.publication;
            !publication.is_erasure() && access.shows(publication)
        };
        Ok(entry.filter(is_shown).map(|entry| entry.position))
    }

    /// The entry at this position, whoever may see it, or what is left of it; `None` if that is
    /// trimmed.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn entry_at(&self, position: Position) -> Result<Option<Arc<Entry>>, ReadError> {
        // Offset 0 is before the first entry, and is none.
        let Some(before) = position.offset.checked_sub(1) else { return Ok(None) };
        match self.first_after(before).await {
            Err(ReadError::Trimmed { .. } | ReadError::Lost { .. }) => Ok(None),
            read => Ok(read?.filter(|entry| entry.position == position)),
        }
    }

    /// The newest event that `access` shows. The log is read when `client` gets a permit.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn newest(
        &self,
        access: &Access,
        client: Option<Client>,
    ) -> Result<Option<Arc<Entry>>, ReadError> {
        let _permit = self.inner.replay_permits.acquire(client).await;
        let before =
            // The log searches by the access. What it finds is checked again below, since the entry
            // may have been trimmed meanwhile and the next one be another.
            self.inner.log.before_last(1, vec![TopicMatcher::any()], access.clone()).await?;
        let entry = self.first_after(before.offset).await?;
        // Neither an end nor a stop, which come first if the history has no event.
        let is_event =
            |publication: &Publication| publication.counts() && access.shows(publication);
        Ok(entry.filter(|entry| is_event(&entry.publication)))
    }

    async fn first_after(&self, offset: Offset) -> Result<Option<Arc<Entry>>, ReadError> {
        let block = self.inner.log.read(offset, vec![TopicMatcher::any()], ONE_ENTRY).await?;
        Ok(block.entries.into_iter().next())
    }
}
