//! Delivery to many subscribers whose bytes one driver writes, without I/O and clock.
//!
//! From the outside in: [`dispatcher`] is the type that a driver uses. It picks a [`schedule`]d
//! turn, and one module serves it: [`broadcast`] a group, [`catch_up`] and [`replay`] a single
//! subscriber, [`heartbeat`] a silent one. They change the state of subscribers through the
//! [`roster`], which keeps [`members`] and [`groups`] consistent.

pub(crate) mod broadcast;
pub(crate) mod catch_up;
pub(crate) mod delivery_state;
pub(crate) mod dispatcher;
pub(crate) mod group_read;
pub(crate) mod groups;
pub(crate) mod heartbeat;
pub(crate) mod inbox;
pub(crate) mod members;
pub(crate) mod replay;
pub(crate) mod ring_run;
pub(crate) mod roster;
pub(crate) mod schedule;
pub(crate) mod sink;
