//! The paths of the adapter, beside the [hub's](crate::observe::endpoint::MERCURE).

/// What the hub requires of tokens (RFC 9728): the well-known prefix, and the path of the hub.
pub(crate) const METADATA: &str = "/.well-known/oauth-protected-resource/.well-known/mercure";

/// The API of open subscriptions.
pub(crate) const SUBSCRIPTIONS: &str = "/.well-known/mercure/subscriptions";
