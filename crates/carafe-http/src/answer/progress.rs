//! How far an ingest request has come.

use serde::{Serialize, Serializer};

#[cfg(feature = "hub")]
use carafe_log::Appended;
use carafe_protocol::Position;

/// What the log has answered to the events of an ingest request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Progress {
    /// Events that were stored.
    pub(crate) stored: u64,
    /// Events that were known by their idempotency key.
    pub(crate) repeated: u64,
    /// The position of the last of both.
    #[serde(serialize_with = "as_text")]
    pub(crate) last: Option<Position>,
}

#[cfg(feature = "hub")]
impl Progress {
    /// Adds the progress of a later part.
    pub(crate) fn join(&mut self, later: Self) {
        self.stored += later.stored;
        self.repeated += later.repeated;
        self.last = later.last.or(self.last);
    }

    pub(crate) fn add(&mut self, appended: &[Appended]) {
        let repeated = appended.iter().filter(|one| one.repeated).count();
        self.repeated += repeated as u64;
        self.stored += (appended.len() - repeated) as u64;
        self.last = appended.last().map(|one| one.position).or(self.last);
    }
}

fn as_text<S: Serializer>(position: &Option<Position>, serializer: S) -> Result<S::Ok, S::Error> {
    match position {
        Some(position) => serializer.collect_str(position),
        None => serializer.serialize_none(),
    }
}
