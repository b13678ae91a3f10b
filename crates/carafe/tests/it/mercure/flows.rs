//! Clients as they are deployed, in a browser.
