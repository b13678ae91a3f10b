//! //! The paths of the adapter, besides that of the [hub](crate::observe::endpoint::MERCURE).

/// /// The metadata of the protected resource (RFC 9728): the well-known prefix before the path of
/// the hub.
pub(crate) const METADATA: &str = "/.well-known/oauth-protected-resource/.well-known/mercure";

/// /// The API of open subscriptions.
pub(crate) const SUBSCRIPTIONS: &str = "/.well-known/mercure/subscriptions";
