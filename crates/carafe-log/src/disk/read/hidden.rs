//! Finds out which entries waiting erasures hide from readers, without reading an entry.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use carafe_protocol::{Offset, Topic};

use crate::Erasures;
use crate::disk::format::index::Ordinal;
use crate::disk::index::active::ActiveIndex;
use crate::disk::index::file::IndexFile;
use crate::disk::read::selection::{Partial, Selection};
use crate::wanted::Budget;

/// So many erased topics are looked up one by one. With more, all topics of the index are read.
const FEW: usize = 64;

/// The entries of a segment that waiting erasures hide.
pub(crate) enum Hidden<'a> {
    None,
    /// The index in memory has the topics of each entry.
    ByTopic(&'a ActiveIndex, &'a Erasures),
    /// Those that erasures of topics hide are selected.
    Selected(Arc<Selection>, &'a Erasures),
}

impl Hidden<'_> {
    /// Whether an event is hidden.
    pub(crate) fn has(&self, at: Ordinal, offset: Offset) -> bool {
        match self {
            Self::None => false,
            Self::ByTopic(index, erasures) => {
                let is_erased = |topic| erasures.erases_in(topic, offset);
                offset < erasures.newest()
                    && (erasures.erases_one(offset)
                        || index.any_topic(at, |topic| index.name(topic).is_some_and(is_erased)))
            }
            Self::Selected(selection, erasures) => {
                erasures.erases_one(offset) || selection.contains(at)
            }
        }
    }
}

/// The entries of a sealed segment that waiting erasures of topics hide. They are found when a
/// search asks for the first time, and again for the erasures that have come since.
///
/// This takes one bit of memory for each entry at most, and nothing where no entry is hidden.
#[derive(Default)]
pub(crate) struct ErasedEntries(Mutex<Known>);

struct Known {
    /// The entries that erasures up to this offset hide.
    selection: Arc<Selection>,
    up_to: Offset,
    /// A search for those that later erasures hide.
    search: Option<Search>,
}

struct Search {
    erasures: Erasures,
    partial: Partial,
}

impl Default for Known {
    fn default() -> Self {
        Self { selection: Arc::new(Selection::new(Vec::new())), up_to: 0, search: None }
    }
}

impl ErasedEntries {
    /// Runs one turn of finding the entries. `None` if the search is not finished. `may_have` rules
    /// out topics that the segment does not have.
    pub(crate) fn find(
        &self,
        file: &IndexFile,
        erasures: &Erasures,
        may_have: impl Fn(&Topic) -> bool,
        budget: &mut Budget,
    ) -> io::Result<Option<Arc<Selection>>> {
        // A leaf in the lock order, held while a part of the index file is read, so that two
        // readers do not do the same work. After a panic, a part is selected once more at worst.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.up_to < erasures.newest() && !known.go_on(file, erasures, may_have, budget)? {
            return Ok(None);
        }
        Ok(Some(Arc::clone(&known.selection)))
    }
}

impl Known {
    /// Returns whether the entries that these erasures hide are found.
    fn go_on(
        &mut self,
        file: &IndexFile,
        erasures: &Erasures,
        may_have: impl Fn(&Topic) -> bool,
        budget: &mut Budget,
    ) -> io::Result<bool> {
        let begun = match self.search.take() {
            None => self.begin(file, erasures, may_have, budget)?,
            search => search,
        };
        let Some(mut search) = begun else { return Ok(true) };
        let Search { erasures: searched, partial } = &mut search;
        let is_done = partial.test_topics(file, budget, |topic, _| {
            searched.before(topic).map(|before| end_of(file, before)).transpose()
        });
        if !matches!(is_done, Ok(true)) {
            self.search = Some(search);
            return is_done;
        }
        self.finish(search.partial, search.erasures.newest());
        // The reader may know erasures that have come since the search began.
        Ok(self.up_to >= erasures.newest())
    }

    /// Finds the entries of a few topics, or begins a search for those of many and returns it.
    fn begin(
        &mut self,
        file: &IndexFile,
        erasures: &Erasures,
        may_have: impl Fn(&Topic) -> bool,
        budget: &mut Budget,
    ) -> io::Result<Option<Search>> {
        let further = self.further(erasures, may_have, budget);
        if further.is_empty() {
            self.up_to = erasures.newest();
            return Ok(None);
        }
        let mut partial = Partial::default();
        partial.begin(file.entries());
        if further.len() > FEW {
            return Ok(Some(Search { erasures: erasures.clone(), partial }));
        }
        for (topic, before) in further {
            partial.select(file, file.of_topic(topic)?, end_of(file, before)?)?;
        }
        self.finish(partial, erasures.newest());
        Ok(None)
    }

    /// The topics of the segment that were erased since, and the offset before which they were.
    fn further<'a>(
        &self,
        erasures: &'a Erasures,
        may_have: impl Fn(&Topic) -> bool,
        budget: &mut Budget,
    ) -> Vec<(&'a Topic, Offset)> {
        let topics = erasures.topics().map(|(topic, erased)| (topic, erased.before));
        let is_further = |(topic, before): &(&Topic, Offset)| {
            budget.examine();
            *before > self.up_to && may_have(topic)
        };
        topics.filter(is_further).collect()
    }

    fn finish(&mut self, mut partial: Partial, up_to: Offset) {
        self.selection.all().for_each(|ordinal| partial.set(ordinal));
        self.selection = Arc::new(Selection::new(partial.bits));
        self.up_to = up_to;
    }
}

/// The first entry that an erasure of all entries before an offset does not hide.
fn end_of(file: &IndexFile, before: Offset) -> io::Result<Ordinal> {
    file.first_after(before.saturating_sub(1))
}
