//! EventSource for Rust, and a publisher for a Carafe hub.
//!
//! [`EventSource`] reads any event stream. It reconnects by itself and resumes after the last event
//! that it received.
//!
//! ```no_run
//! use carafe_client::EventSource;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), carafe_client::Error> {
//! let mut events = EventSource::new("http://127.0.0.1:3000/events/orders");
//! while let Some(event) = events.next().await {
//!     println!("{}", event?.data);
//! }
//! # Ok(()) }
//! ```
//!
//! [`Publisher`] sends events to a hub:
//!
//! ```no_run
//! use carafe_client::{Publish, Publisher};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), carafe_client::PublisherError> {
//! let hub = Publisher::new("http://127.0.0.1:3000");
//! let id = hub.publish(&Publish::to("orders", "one flat white")).await?;
//! # Ok(()) }
//! ```
//!
//! [`Revoker`] revokes tokens at a hub.
//!
//! All use HTTP or HTTPS. The operating system has to trust the certificate of the server, or
//! [`Connections::with_roots`] names what else to trust. They send a token if they have one:
//! [`EventSourceOptions::bearer`], [`Publisher::with_bearer`], [`Revoker::with_bearer`].

mod attempts;
mod backoff;
mod body;
mod cause;
mod connection;
mod connections;
mod control;
mod error;
mod event_source;
mod failed;
mod feed;
mod http;
mod http_date;
mod options;
mod publish;
mod publisher;
mod publisher_error;
mod publishing;
mod random;
mod redirect;
mod revoker;
mod saver;
mod state;
mod store;
mod token;
mod topic;

pub use carafe_protocol::ReceivedEvent;
pub use cause::Cause;
pub use connections::Connections;
pub use control::{Control, Gap, Item, Stop, TopicEnd};
pub use error::{Error, Lost};
pub use event_source::EventSource;
pub use feed::Feed;
pub use feed::event::FeedEvent;
pub use feed::fed::{Fed, FeedError};
pub use options::EventSourceOptions;
pub use publish::Publish;
pub use publisher::Publisher;
pub use publisher_error::PublisherError;
pub use reqwest::Method;
pub use reqwest::header::HeaderMap;
pub use revoker::{Revoke, Revoked, Revoker, RevokerError};
pub use state::{EndReason, ResponseHead, State, States};
pub use store::{FileStore, Store, StoreFuture};
pub use token::TokenRequest;
pub use topic::{Outcome, TopicState};
