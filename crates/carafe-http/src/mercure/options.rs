//! How Mercure is spoken.

use std::time::Duration;

use url::Url;

/// How Mercure is spoken. Who may do what follows from the keys of a Mercure dialect, and from what
/// strangers may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mercure {
    /// The origin under which clients reach the hub, such as `https://hub.example.com`. The URL of
    /// the hub below it is its resource identifier, to which tokens of 1.0 are made out; without
    /// it, only 0.x is spoken.
    pub public_url: Option<Url>,
    /// Whether open subscriptions of 0.x are told, by an API and by private updates.
    pub subscriptions: bool,
    /// How long a stream stays open at most, give or take a fifth less.
    pub max_age: Option<Duration>,
}
