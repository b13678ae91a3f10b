//! carafe-hub.
