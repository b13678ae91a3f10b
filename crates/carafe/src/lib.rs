//! carafe.
