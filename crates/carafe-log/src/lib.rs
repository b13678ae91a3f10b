//! carafe-log.
