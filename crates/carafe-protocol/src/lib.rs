//! carafe-protocol.
