//! The hub's endpoints, one file each, with the router and the state that handlers share.

pub(crate) mod allowance;
pub(crate) mod answers;
pub(crate) mod app;
pub(crate) mod batch;
pub(crate) mod body;
pub(crate) mod caller;
pub(crate) mod event_stream;
pub(crate) mod health;
pub(crate) mod heartbeat;
pub(crate) mod hub_body;
pub(crate) mod line;
pub(crate) mod lines;
pub(crate) mod metrics;
pub(crate) mod options;
pub(crate) mod page;
pub(crate) mod publication;
pub(crate) mod publish;
pub(crate) mod query;
pub(crate) mod router;
pub(crate) mod subscribe;
pub(crate) mod topic;
pub(crate) mod unread;
