//! Finds events by the IDs that their readers know.

use std::sync::Arc;

use carafe_log::{Access, BlockLimit, Entry, ExternalId, Find, Publication, ReadError};
use carafe_protocol::{EventId, Offset, Position, TopicMatcher};

use crate::client::Client;
use crate::hub::Hub;
use crate::inner::HubInner;

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

impl HubInner {
    /// Finds a position, which another node may have given out that is before this one. The log is
    /// read when `client` gets a permit.
    ///
    /// A position that is still ahead when the log has caught up is lost: no node has it.
    pub(crate) async fn find(
        &self,
        position: Position,
        client: Option<Client>,
    ) -> Result<Find, ReadError> {
        let find = async || {
            let _permit = self.replay_permits.acquire(client).await;
            self.log.find(position).await
        };
        match find().await? {
            Find::Ahead => {}
            found => return Ok(found),
        }
        // Without the permit, which others need meanwhile.
        self.log.catch_up().await?;
        // Before the position is searched: what comes then is not before it.
        let common = self.log.span().tail;
        Ok(match find().await? {
            Find::Ahead => Find::Lost { common },
            found => found,
        })
    }
}

impl Hub {
    /// The position of the event with this ID, as [`event_id`] returns it: the earliest, if
    /// publishers used the ID several times. An event that `access` does not show is not found. The
    /// log is read when `client` gets a permit.
    ///
    /// A position is found as long as its event is in the history, also when the event was erased
    /// or compacted: its readers continue after it. An erasure also removes the external ID of the
    /// event. An event that another node may have is searched again when this one has
    /// [caught up](Self::catch_up).
    ///
    /// # Errors
    /// When the log cannot be read, or may lack the event.
    pub async fn find_id(
        &self,
        id: &str,
        access: &Access,
        client: Option<Client>,
    ) -> Result<Option<Position>, ReadError> {
        let tail = self.inner.log.span().tail;
        let found = self.search_id(id, access, client).await?;
        // A position up to the tail is no position of another node that this one has to wait for.
        let is_known = |position: Position| {
            position.generation != tail.generation || position.offset <= tail.offset
        };
        if found.is_some() || id.parse().is_ok_and(is_known) {
            return Ok(found);
        }
        self.inner.log.catch_up().await?;
        match self.inner.log.span().tail == tail {
            true => Ok(None),
            false => self.search_id(id, access, client).await,
        }
    }

    async fn search_id(
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

    /// Waits until the log has what was published by now at other nodes, if there are some.
    ///
    /// # Errors
    /// When the log does not come so far in time.
    pub async fn catch_up(&self) -> Result<(), ReadError> {
        self.inner.log.catch_up().await
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
