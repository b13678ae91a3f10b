//! EventSource for Rust, and a publisher for a Carafe hub.
//!
//! [`EventSource`] reads any event stream: it reconnects by itself and asks to go on after the last
//! event it saw.
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
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), carafe_client::PublishError> {
//! let hub = Publisher::new("http://127.0.0.1:3000");
//! let id = hub.publish(&Publish::to("orders", "one flat white")).await?;
//! # Ok(()) }
//! ```
//!
//! Both speak HTTP and HTTPS; a server's certificate has to be one that this machine trusts. Both
//! send a token if they are given one: [`EventSourceOptions::bearer`], [`Publisher::with_bearer`].

mod backoff;
mod connection;
mod event_source;
mod http;
mod options;
mod publish;
mod tls;

pub use carafe_protocol::ReceivedEvent;
pub use connection::Lost;
pub use event_source::{Error, EventSource};
pub use options::EventSourceOptions;
pub use publish::{Publish, PublishError, Publisher};
