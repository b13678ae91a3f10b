//! carafe-client.
