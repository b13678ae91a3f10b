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
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
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

mod client;
mod compiler;
mod counts;
mod delivery;
mod drain;
mod envelope;
mod erase;
mod feeds;
mod find;
mod format;
mod frame;
mod gap;
mod heartbeat;
mod hub;
mod ids;
mod inner;
mod json_line;
mod limits;
mod over;
mod paged_table;
mod recent_erasures;
mod report;
mod retention;
mod state;
mod subscription;
mod topic_tail;
mod visibility;
mod wakeups;
mod watch;
mod watches;

pub use carafe_log::{Access, Grant};
pub use client::Client;
pub use counts::HubCounts;
pub use delivery::dispatcher::Dispatcher;
pub use delivery::sink::{Sink, Tick, Written};
pub use drain::Drain;
pub use erase::{EraseError, EraseOne};
pub use feeds::patterns::TooManyComplexPatterns;
pub use find::event_id;
pub use format::{CustomFormat, Encoder, Format};
pub use gap::{Gap, GapReason};
pub use heartbeat::Heartbeat;
pub use hub::{Hub, PublishError};
pub use ids::SubscriberId;
pub use limits::HubLimits;
#[doc(hidden)]
pub use paged_table::{PagedTable, TableKey};
pub use retention::Retention;
pub use subscription::frames::Frames;
pub use subscription::page::{Page, PageLimit, PageReader};
pub use subscription::stream::{Delivery, Subscription};
pub use subscription::subscribe::{OnGap, Start, Subscribe, SubscribeError};
pub use topic_tail::TopicTail;
pub use watch::TopicWatch;
