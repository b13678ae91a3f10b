//! Streaming ingest: `POST` with a body that stays open. Each event is stored when its last byte
//! has arrived.

pub(crate) mod answer;
pub(crate) mod append;
pub(crate) mod blocks;
pub(crate) mod decoder;
pub(crate) mod events;
pub(crate) mod feed;
pub(crate) mod feeding;
pub(crate) mod handler;
pub(crate) mod interruption;
pub(crate) mod lines;
pub(crate) mod on_abort;
pub(crate) mod open_body;
pub(crate) mod request;
pub(crate) mod stop;
pub(crate) mod store;
