//! How the floor writes.

/// How events that wait are written.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writes {
    /// One write for each subscriber and event.
    Each,
    /// One write for each subscriber, with all that has come meanwhile.
    Coalesced,
}
