//! Where a dispatcher writes: the interface that its driver implements.

use crate::client::Client;
use crate::ids::SubscriberId;

/// A moment by the driver's clock, in the driver's unit. It wraps around.
///
/// ```
/// use std::time::Instant;
/// use carafe_hub::Tick;
///
/// // Milliseconds since the driver has started. They wrap around after 49 days.
/// fn now(started: Instant) -> Tick {
///     started.elapsed().as_millis() as Tick
/// }
/// ```
pub type Tick = u32;

/// Takes the bytes of subscribers to their clients. See [`Dispatcher`](crate::Dispatcher) for an
/// example.
///
/// ```
/// use carafe_hub::{Sink, SubscriberId, Written};
///
/// // Keeps the bytes of all subscribers, and the number of their events.
/// #[derive(Default)]
/// struct Kept(Vec<u8>, u32);
///
/// impl Sink for Kept {
///     fn write(&mut self, _: SubscriberId, bytes: &[u8], events: u32) -> Written {
///         self.0.extend_from_slice(bytes);
///         self.1 += events;
///         Written::Bytes(bytes.len())
///     }
///
///     fn ended(&mut self, _: SubscriberId, _failed: bool) {}
/// }
/// ```
pub trait Sink {
    /// Writes as many of `bytes` as this subscriber's client takes now.
    ///
    /// `bytes` end with the last byte of so many `events`; positions, gaps and heartbeats are none.
    /// If the client takes a part, the rest is written later with the same number: the events are
    /// sent when the client has taken all.
    fn write(&mut self, subscriber: SubscriberId, bytes: &[u8], events: u32) -> Written;

    /// Everything was written to this subscriber, and the end of its stream; or its history could
    /// not be read and it has `failed`. The dispatcher has removed the subscriber.
    fn ended(&mut self, subscriber: SubscriberId, failed: bool);

    /// The client of this subscriber, if known. The dispatcher asks when the subscriber has to read
    /// the log again.
    fn client(&self, subscriber: SubscriberId) -> Option<Client> {
        let _ = subscriber;
        None
    }
}

/// The result of a write.
///
/// ```
/// use std::io::{ErrorKind, Write};
/// use carafe_hub::Written;
///
/// // Writes to a socket that does not block.
/// fn write(socket: &mut impl Write, bytes: &[u8]) -> Written {
///     match socket.write(bytes) {
///         Ok(0) => Written::Gone,
///         Ok(written) => Written::Bytes(written),
///         Err(error) if error.kind() == ErrorKind::WouldBlock => Written::Bytes(0),
///         Err(_) => Written::Gone,
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Written {
    /// The client took this many bytes. If these are not all, the driver calls
    /// [`Dispatcher::writable`](crate::Dispatcher::writable) when it takes more.
    Bytes(usize),
    /// The client has disconnected. The dispatcher removes the subscriber.
    Gone,
}
