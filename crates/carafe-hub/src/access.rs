//! Which entries each cursor may see, with the answers kept per access.

use std::collections::HashMap;
use std::sync::Arc;

use carafe_log::{Access, Publication};
use carafe_protocol::{Topic, TopicMatcher};

use crate::format::Format;

/// What a cursor sees of what its feeds match: what an access shows. Without one, all there is, of
/// all topics.
#[derive(Clone)]
pub(crate) struct Sight(Option<Arc<Interned>>);

/// An access, one for all who have the same.
pub(crate) struct Interned {
    id: AccessId,
    access: Access,
    /// All is shown that is asked for, whatever that is.
    all: bool,
}

/// Names an access. None is ever given out again: what is known of an entry under it stays true.
pub(crate) type AccessId = u64;

/// The accesses in use.
#[derive(Default)]
pub(crate) struct Accesses {
    interned: HashMap<Access, Arc<Interned>>,
    given_out: AccessId,
}

impl Accesses {
    /// What a subscription sees that asks for these.
    pub(crate) fn join(&mut self, access: &Access, matchers: &[TopicMatcher]) -> Sight {
        if access.grant().is_all() {
            return Sight(None);
        }
        let all = matchers.iter().all(|matcher| access.covers(matcher));
        // Who may see all that they ask for get the same, whatever else each may see.
        let access =
            if all { Access::all().with_public(access.includes_public()) } else { access.clone() };
        if let Some(interned) = self.interned.get(&access) {
            return Sight(Some(Arc::clone(interned)));
        }
        self.given_out += 1;
        let interned = Arc::new(Interned { id: self.given_out, access: access.clone(), all });
        self.interned.insert(access, Arc::clone(&interned));
        Sight(Some(interned))
    }

    pub(crate) fn leave(&mut self, sight: &Sight) {
        if let Sight(Some(interned)) = sight
            // This map's, and the one that leaves.
            && Arc::strong_count(interned) <= 2
        {
            self.interned.remove(&interned.access);
        }
    }
}

impl Sight {
    /// The access; none where all there is is seen.
    pub(crate) fn id(&self) -> Option<AccessId> {
        self.0.as_ref().map(|interned| interned.id)
    }

    /// Whether an entry is seen that one of the matchers matches.
    pub(crate) fn shows(&self, publication: &Publication) -> bool {
        self.0.as_ref().is_none_or(|interned| interned.all || interned.access.shows(publication))
    }

    /// The same, where `known` remembers what it comes to for each access.
    pub(crate) fn shows_as_known(&self, publication: &Publication, known: &mut Known) -> bool {
        self.0.as_ref().is_none_or(|interned| {
            let access = &interned.access;
            interned.all
                || access.shows_as_public(publication)
                || known.of(interned.id, || access.shows(publication))
        })
    }

    /// Whether who sees the entry may know all that this format tells of it.
    pub(crate) fn shares_frame(&self, publication: &Publication, format: Format) -> bool {
        let one_topic = || publication.topics().nth(1).is_none();
        let public = |interned: &Arc<Interned>| interned.access.shows_as_public(publication);
        format != Format::Enveloped || self.0.as_ref().is_none_or(public) || one_topic()
    }

    /// Whether all of this topic is seen, as far as it is asked for.
    pub(crate) fn covers_topic(&self, topic: &Topic) -> bool {
        self.0.as_ref().is_none_or(|interned| interned.access.covers_topic(topic))
    }
}

/// Which accesses show an entry: each is asked once, however many have it.
#[derive(Default)]
#[expect(clippy::box_collection, reason = "nearly all entries are public, and have none")]
pub(crate) struct Known(Option<Box<HashMap<AccessId, bool>>>);

impl Known {
    fn of(&mut self, id: AccessId, ask: impl FnOnce() -> bool) -> bool {
        *self.0.get_or_insert_default().entry(id).or_insert_with(ask)
    }

    /// About how many bytes of memory it takes.
    pub(crate) fn weight(&self) -> usize {
        self.0.as_ref().map_or(0, |known| known.capacity() * size_of::<(AccessId, bool)>())
    }
}
