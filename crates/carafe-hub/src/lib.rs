//! Publish, subscribe and replay: the hub of Carafe, without HTTP.
//!
//! The hub delivers only what its log holds, and a subscription is a cursor: replay and live
//! delivery are one path at two positions. There is no queue, broadcast channel or task per
//! subscription.
//!
//! ```
//! use carafe_hub::{Delivery, Hub, Subscribe};
//! use carafe_log::{MemoryLog, Publication};
//! use carafe_protocol::Topic;
//! use futures_util::StreamExt;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::new(MemoryLog::default());
//! let orders = Topic::new("orders")?;
//! let mut subscription = hub.subscribe(Subscribe::to(orders.clone())).await?;
//! hub.publish(Publication::new(orders, "one flat white")).await?;
//!
//! assert!(matches!(subscription.next().await, Some(Delivery::Position(_))));
//! let Some(Delivery::Entry(entry)) = subscription.next().await else { panic!() };
//! assert_eq!(entry.publication.event().data(), Some("one flat white"));
//! # Ok(()) }
//! ```

mod access;
mod budgets;
mod client;
mod compiler;
mod core;
mod counts;
mod dispatcher;
mod drain;
mod envelope;
mod feeds;
mod find;
mod format;
mod frame;
mod gap;
mod hub;
mod ids;
mod members;
mod membership;
mod older;
mod paged_table;
mod patterns;
mod replays;
mod retention;
mod ring;
mod scanned;
mod subscribe;
mod subscription;

pub use carafe_log::{Access, Grant};
pub use client::Client;
pub use counts::HubCounts;
pub use dispatcher::{Dispatcher, Sink, Tick, Written};
pub use drain::Drain;
pub use find::event_id;
pub use format::{CustomFormat, Encoder, Format};
pub use gap::{Gap, GapReason};
pub use hub::{Hub, HubLimits, PublishError};
pub use ids::SubscriberId;
#[doc(hidden)]
pub use paged_table::{PagedTable, TableKey};
pub use patterns::TooManyComplexPatterns;
pub use retention::Retention;
pub use subscribe::{Start, Subscribe, SubscribeError};
pub use subscription::{Delivery, Frames, Subscription};
