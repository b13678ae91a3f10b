//! What clients may do and how much of it: rights, limits, origins, addresses and rates. Nothing
//! here reads a request body or writes to a socket.

pub(crate) mod address;
pub(crate) mod app_rights;
pub(crate) mod base_path;
pub(crate) mod body_budget;
pub(crate) mod client;
pub(crate) mod cookies;
pub(crate) mod loopback;
pub(crate) mod origins;
pub(crate) mod publish_rate;
pub(crate) mod readiness;
#[cfg(feature = "mercure")]
pub(crate) mod reserved_topics;
pub(crate) mod revocations;
pub(crate) mod rights;
pub(crate) mod subscribers;
#[cfg(feature = "auth")]
pub(crate) mod token_rights;
