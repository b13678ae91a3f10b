//! How the engine of a cluster is run.

#[derive(Clone, Copy)]
pub(super) struct Setup {
    /// The stream has a replica on each.
    pub(super) servers: usize,
    /// Whether a server syncs each message before it acknowledges it.
    pub(super) synced: bool,
}

impl Setup {
    pub(super) const ONE: Self = Self { servers: 1, synced: false };
    pub(super) const SYNCED: Self = Self { servers: 1, synced: true };
    pub(super) const REPLICATED: Self = Self { servers: 3, synced: false };

    pub(super) fn name(self) -> &'static str {
        match self {
            Self { synced: true, .. } => "one server that syncs each message",
            Self { servers: 1, .. } => "one server",
            Self { .. } => "three servers, three replicas",
        }
    }
}
