//! What a subscriber may see.

use std::collections::HashMap;
use std::sync::Arc;

use carafe_log::{Publication, Visible};
use carafe_protocol::{Topic, TopicMatcher};

use crate::{Form, Grant};

/// What a subscriber may see: public events of all topics or none, and all events of the topics of
/// a grant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    public: bool,
    grant: Grant,
}

impl Default for Access {
    /// Public events.
    fn default() -> Self {
        Self::public()
    }
}

impl Access {
    /// Public events of all topics.
    #[must_use]
    pub fn public() -> Self {
        Self { public: true, grant: Grant::default() }
    }

    /// All events, private ones too.
    #[must_use]
    pub fn all() -> Self {
        Self::to(Grant::all())
    }

    /// All events of these topics, and nothing of any other.
    #[must_use]
    pub fn to(grant: Grant) -> Self {
        Self { public: false, grant }
    }

    /// Sets whether public events of all other topics are seen too.
    #[must_use]
    pub fn with_public(mut self, public: bool) -> Self {
        self.public = public;
        self
    }

    /// What one of the two shows.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        Self { public: self.public || other.public, grant: self.grant.or(&other.grant) }
    }

    /// Whether all events of this topic are seen, private ones too.
    #[must_use]
    pub fn covers_topic(&self, topic: &Topic) -> bool {
        self.grant.covers(topic)
    }

    /// What is asked for by asking for everything.
    pub(crate) fn everything(&self) -> Vec<TopicMatcher> {
        if self.public { vec![TopicMatcher::any()] } else { self.grant.matchers().to_vec() }
    }

    pub(crate) fn sees_nothing(&self) -> bool {
        !self.public && self.grant.is_empty()
    }

    /// Whether anything that the matcher matches could be seen. Only of a single topic that is
    /// known.
    pub(crate) fn may_ask_for(&self, matcher: &TopicMatcher) -> bool {
        match matcher {
            TopicMatcher::Exact(topic) => self.public || self.grant.covers(topic),
            TopicMatcher::Pattern(_) => !self.sees_nothing(),
        }
    }

    /// Whether all is seen that the matcher matches.
    fn covers(&self, matcher: &TopicMatcher) -> bool {
        match matcher {
            TopicMatcher::Exact(topic) => self.grant.covers(topic),
            TopicMatcher::Pattern(_) => {
                self.grant.is_all() || self.grant.matchers().contains(matcher)
            }
        }
    }

    pub(crate) fn visible(&self) -> Visible {
        Visible { public: self.public, granted: self.grant.shared() }
    }
}

/// What a cursor sees of what its feeds match: what an access shows. Without one, all there is, of
/// all topics.
#[derive(Clone)]
pub(crate) struct Sight(Option<Arc<Interned>>);

/// An access, one for all who have the same.
pub(crate) struct Interned {
    id: AccessId,
    access: Access,
    visible: Visible,
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
        if access.grant.is_all() {
            return Sight(None);
        }
        let all = matchers.iter().all(|matcher| access.covers(matcher));
        // Who may see all that they ask for get the same, whatever else each may see.
        let access = if all { Access::all().with_public(access.public) } else { access.clone() };
        if let Some(interned) = self.interned.get(&access) {
            return Sight(Some(Arc::clone(interned)));
        }
        self.given_out += 1;
        let visible = access.visible();
        let interned =
            Arc::new(Interned { id: self.given_out, access: access.clone(), visible, all });
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
        self.0.as_ref().is_none_or(|interned| interned.all || interned.visible.shows(publication))
    }

    /// The same, where `known` remembers what it comes to for each access.
    pub(crate) fn shows_as_known(&self, publication: &Publication, known: &mut Known) -> bool {
        self.0.as_ref().is_none_or(|interned| {
            let visible = &interned.visible;
            interned.all
                || visible.shows_as_public(publication)
                || known.of(interned.id, || visible.shows(publication))
        })
    }

    /// Whether who sees the entry may know all that this form tells of it.
    pub(crate) fn shares_frame(&self, publication: &Publication, form: Form) -> bool {
        let one_topic = || publication.topics().nth(1).is_none();
        let public = |interned: &Arc<Interned>| interned.visible.shows_as_public(publication);
        form != Form::Enveloped || self.0.as_ref().is_none_or(public) || one_topic()
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
