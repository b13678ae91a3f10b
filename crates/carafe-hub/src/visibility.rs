//! Who sees a private event: this module decides, for every delivery path.
//!
//! The rule itself is [`Access`], in the log's crate. Here each distinct access in use is interned,
//! so that an entry is tested once for all subscribers with the same access, and the result is kept
//! with the entry. Everything here runs under the hub's lock or on values of one subscription.

use std::collections::HashMap;
use std::sync::Arc;

use carafe_log::{Access, Publication};
use carafe_protocol::{Topic, TopicMatcher};

use crate::format::Format;
use crate::report::is_delivered;

/// The access of a subscription, shared by all with the same one. `None` shows every entry.
#[derive(Clone)]
pub(crate) struct InternedAccess(Option<Arc<Interned>>);

/// An access in use.
pub(crate) struct Interned {
    id: AccessId,
    access: Access,
    /// Shows every entry that its subscriptions request.
    covers_request: bool,
}

/// Identifies an access. An ID is never reused, so cached results stay true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AccessId(u64);

/// The accesses in use.
#[derive(Default)]
pub(crate) struct AccessTable {
    interned: HashMap<Access, Arc<Interned>>,
    last_id: u64,
}

/// Which accesses show an entry: each is tested once, however many subscribers have it.
#[derive(Default)]
#[expect(clippy::box_collection, reason = "nearly all entries are public and have no cache")]
pub(crate) struct VisibilityCache(Option<Box<HashMap<AccessId, bool>>>);

impl AccessTable {
    /// The shared access of a subscription that requests these matchers.
    pub(crate) fn intern(&mut self, access: &Access, matchers: &[TopicMatcher]) -> InternedAccess {
        // Shows every entry, so there is nothing to intern, to test or to compare.
        if access.grant().is_all() {
            return InternedAccess(None);
        }
        let covers_request = matchers.iter().all(|matcher| access.covers(matcher));
        // Subscriptions that may see everything they request receive the same, whatever else each
        // may see. So they share one access, and with it their group.
        let access = if covers_request {
            Access::all().with_public(access.includes_public())
        } else {
            access.clone()
        };
        if let Some(interned) = self.interned.get(&access) {
            return InternedAccess(Some(Arc::clone(interned)));
        }
        // 64 bits do not wrap around within the life of a process.
        self.last_id += 1;
        let id = AccessId(self.last_id);
        let interned = Arc::new(Interned { id, access: access.clone(), covers_request });
        self.interned.insert(access, Arc::clone(&interned));
        InternedAccess(Some(interned))
    }

    /// Removes an access that only this subscription still uses. All clones are made and released
    /// under the hub's lock, so the count is exact.
    pub(crate) fn release(&mut self, access: &InternedAccess) {
        if let InternedAccess(Some(interned)) = access
            // One for this table, one for the subscription.
            && Arc::strong_count(interned) <= 2
        {
            self.interned.remove(&interned.access);
        }
    }
}

impl InternedAccess {
    /// The identity of the access; `None` if it shows every entry.
    pub(crate) fn id(&self) -> Option<AccessId> {
        self.0.as_ref().map(|interned| interned.id)
    }

    /// Whether an entry is shown that one of the subscription's matchers matches.
    pub(crate) fn shows(&self, publication: &Publication) -> bool {
        is_delivered(publication)
            && self.0.as_ref().is_none_or(|interned| {
                interned.covers_request || interned.access.shows(publication)
            })
    }

    /// The same as [`shows`](Self::shows), with the cache of the entry.
    pub(crate) fn shows_cached(
        &self,
        publication: &Publication,
        cache: &mut VisibilityCache,
    ) -> bool {
        let is_shown = |interned: &Arc<Interned>| {
            let access = &interned.access;
            interned.covers_request
                || access.shows_as_public(publication)
                || cache.get_or_test(interned.id, || access.shows(publication))
        };
        is_delivered(publication) && self.0.as_ref().is_none_or(is_shown)
    }

    /// Whether a subscriber that sees the entry may know everything that its shared frame contains.
    /// An envelope names all topics of an entry, of which the subscriber may have been granted one.
    pub(crate) fn shares_frame(&self, publication: &Publication, format: Format) -> bool {
        let has_one_topic = || publication.topics().nth(1).is_none();
        let is_public = |interned: &Arc<Interned>| interned.access.shows_as_public(publication);
        format.of_kind(publication.kind()) != Format::Enveloped
            || self.0.as_ref().is_none_or(is_public)
            || has_one_topic()
    }

    /// Whether all entries of this topic are shown, as far as they are requested.
    pub(crate) fn covers_topic(&self, topic: &Topic) -> bool {
        self.0.as_ref().is_none_or(|interned| interned.access.covers_topic(topic))
    }
}

impl VisibilityCache {
    fn get_or_test(&mut self, id: AccessId, test: impl FnOnce() -> bool) -> bool {
        *self.0.get_or_insert_default().entry(id).or_insert_with(test)
    }

    /// About how many bytes of memory the cache takes.
    pub(crate) fn weight(&self) -> usize {
        self.0.as_ref().map_or(0, |cache| cache.capacity() * size_of::<(AccessId, bool)>())
    }
}
