//! carafe-http.
