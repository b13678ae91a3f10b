//! Finding events by the IDs that they have for who reads them.

use std::sync::Arc;

use carafe_log::{BlockLimit, Entry, ExternalId, ReadError};
use carafe_protocol::{EventId, Position, TopicMatcher};

use crate::{Access, Client, Hub};

const ONE: BlockLimit = BlockLimit { entries: 1, bytes: usize::MAX };

/// The ID of an event in formats whose events have external IDs: its publisher's, or else its
/// position.
#[must_use]
pub fn event_id(entry: &Entry) -> EventId {
    let id = entry.publication.external_id().map(ToString::to_string);
    let text = id.unwrap_or_else(|| entry.position.to_string());
    EventId::new(text).expect("neither has a control character")
}

impl Hub {
    /// Where the event stands that has this ID, as [`event_id`](crate::event_id) tells it: the
    /// earliest, if publishers gave an ID several times. What `access` does not show is not there.
    /// The log is read when it is the turn of `client`.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn find_id(
        &self,
        id: &str,
        access: &Access,
        client: Option<Client>,
    ) -> Result<Option<Position>, ReadError> {
        let _turn = self.shared.replays.turn(client).await;
        if let Ok(id) = ExternalId::new(id)
            && let Some(position) = self.shared.log.find_external_id(id, access.clone()).await?
        {
            return Ok(Some(position));
        }
        let Ok(position) = id.parse::<Position>() else { return Ok(None) };
        let Some(before) = position.offset.checked_sub(1) else { return Ok(None) };
        let entry = match self.first_after(before).await {
            Err(ReadError::Trimmed { .. } | ReadError::Lost { .. }) => None,
            read => read?,
        };
        let is_it =
            |entry: &Arc<Entry>| entry.position == position && access.shows(&entry.publication);
        Ok(entry.filter(is_it).map(|entry| entry.position))
    }

    /// The newest event of those that `access` shows. The log is read when it is the turn of
    /// `client`.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn newest(
        &self,
        access: &Access,
        client: Option<Client>,
    ) -> Result<Option<Arc<Entry>>, ReadError> {
        let _turn = self.shared.replays.turn(client).await;
        let before =
            self.shared.log.before_last(1, vec![TopicMatcher::any()], access.clone()).await?;
        let entry = self.first_after(before.offset).await?;
        Ok(entry.filter(|entry| access.shows(&entry.publication)))
    }

    async fn first_after(&self, offset: u64) -> Result<Option<Arc<Entry>>, ReadError> {
        let block = self.shared.log.read(offset, vec![TopicMatcher::any()], ONE).await?;
        Ok(block.entries.into_iter().next())
    }
}
