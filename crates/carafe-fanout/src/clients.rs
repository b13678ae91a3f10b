//! The clients of a shard: their sockets, and the writes to them.

use std::collections::HashMap;

use carafe_hub::{PagedTable, Sink, SubscriberId, TableKey, Written};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Token};

use crate::encrypted::Received;
use crate::end_reason::EndReason;
use crate::pollers::Pollers;
use crate::send_buffer::{SendBuffer, SendBuffers};
use crate::stream::StreamObserver;
use crate::transport::Transport;

/// Bytes that take about as long to write as the system call.
const BYTES_PER_COST: usize = 16 << 10;

/// Bytes of received records that are processed in a turn: several hundred small records, which
/// take about a millisecond. Clients that send many must not delay others.
const PROCESSED_IN_A_TURN: usize = 8 << 10;

/// The clients, by the IDs of their subscribers in the dispatcher.
pub(crate) struct Clients<G> {
    table: PagedTable<SubscriberId, Client<G>>,
    /// The number of the newest client.
    newest: u32,
    /// Subscribers that the dispatcher has removed, and whose sockets are to be closed.
    pub(crate) ended: Vec<(SubscriberId, EndReason)>,
    /// The cost of the writes of a turn, which take most of its time.
    pub(crate) cost: usize,
    pollers: Pollers,
    buffers: SendBuffers,
    /// Clients whose send buffer was full lately. They are few: in the table, the fields would take
    /// memory for all.
    full: HashMap<SubscriberId, Full>,
    /// For the records that are being written.
    records: Vec<u8>,
    /// How many bytes of received records may still be processed in this turn.
    to_process: usize,
    /// Clients whose records wait for the next turn. An ID may be reused by then.
    unprocessed: Vec<SubscriberId>,
}

/// A send buffer that was full.
#[derive(Default)]
struct Full {
    buffer: SendBuffer,
    /// Whether it was full since the last visit.
    lately: bool,
}

/// A client of an open stream.
pub(crate) struct Client<G> {
    pub(crate) transport: Transport,
    observer: G,
}

impl<G: StreamObserver> Client<G> {
    /// Distinguishes the client from others that have the same ID one after the other.
    pub(crate) fn number(&self) -> u32 {
        self.transport.number
    }

    /// Whether the stream was revoked, and has to end.
    pub(crate) fn is_revoked(&self) -> bool {
        self.observer.is_revoked()
    }

    pub(crate) fn end(self, reason: EndReason) -> Transport {
        self.observer.ended(reason);
        self.transport
    }
}

impl<G: StreamObserver> Clients<G> {
    pub(crate) fn new(pollers: Pollers, buffers: SendBuffers) -> Self {
        Self {
            table: PagedTable::new(),
            newest: 0,
            ended: Vec::new(),
            cost: 0,
            pollers,
            buffers,
            full: HashMap::new(),
            records: Vec::new(),
            to_process: 0,
            unprocessed: Vec::new(),
        }
    }

    pub(crate) fn pollers(&self) -> &Pollers {
        &self.pollers
    }

    pub(crate) fn get(&self, subscriber: SubscriberId) -> Option<&Client<G>> {
        self.table.get(subscriber)
    }

    /// Begins a turn, with what was too much for the last.
    pub(crate) fn receive_more(&mut self, mut end: impl FnMut(SubscriberId)) {
        self.to_process = PROCESSED_IN_A_TURN;
        for subscriber in std::mem::take(&mut self.unprocessed) {
            let Some(client) = self.table.get_mut(subscriber) else { continue };
            let received = client.transport.receive_more(&mut self.to_process);
            if self.note(subscriber, received) {
                end(subscriber);
            }
        }
    }

    /// Whether the stream ends with what its client did. Then it is among those that have ended.
    pub(crate) fn ends_by(&mut self, subscriber: SubscriberId, event: &Event) -> bool {
        let Some(client) = self.table.get_mut(subscriber) else { return false };
        let received = client.transport.receive(event, &mut self.to_process);
        self.note(subscriber, received)
    }

    fn note(&mut self, subscriber: SubscriberId, received: Received) -> bool {
        match received {
            Received::All => {}
            Received::More => self.unprocessed.push(subscriber),
            Received::End(reason) => self.ended.push((subscriber, reason)),
        }
        matches!(received, Received::End(_))
    }

    /// Whether records wait for the next turn.
    pub(crate) fn has_unprocessed(&self) -> bool {
        !self.unprocessed.is_empty()
    }

    /// Ends the client's connection as its encryption requires.
    pub(crate) fn close(&mut self, transport: Transport) -> TcpStream {
        transport.close(&mut self.records)
    }

    /// A bound above the indexes of all clients. Some indexes below it are free.
    pub(crate) fn bound(&self) -> u32 {
        u32::try_from(self.table.bound()).unwrap_or(u32::MAX)
    }

    /// Adds the client of a subscriber, and returns the client's number.
    pub(crate) fn insert(
        &mut self,
        subscriber: SubscriberId,
        mut transport: Transport,
        observer: G,
    ) -> u32 {
        self.newest = self.newest.wrapping_add(1);
        transport.number = self.newest;
        self.table.insert_at(subscriber, Client { transport, observer });
        self.newest
    }

    /// Writes what the kernel takes. If that is not all, the poller will report when there is room.
    /// It is not asked before: most sockets always have room.
    fn try_write(
        &mut self,
        subscriber: SubscriberId,
        bytes: &[u8],
        events: u32,
    ) -> Result<usize, EndReason> {
        let Some(client) = self.table.get_mut(subscriber) else { return Err(EndReason::Left) };
        let mut written = client.transport.write(bytes, &mut self.records)?;
        // The events are sent with the last byte, and only with it.
        let events_in = |written| if written == bytes.len() { events } else { 0 };
        client.observer.sent(written, events_in(written));
        if written == bytes.len() {
            return Ok(written);
        }
        let full = self.full.entry(subscriber).or_default();
        full.lately = true;
        if self.buffers.filled(&mut full.buffer, &client.transport.socket) {
            let more = client.transport.write(&bytes[written..], &mut self.records)?;
            written += more;
            client.observer.sent(more, events_in(written));
        }
        if written < bytes.len() {
            let interest = Interest::READABLE | Interest::WRITABLE;
            let (socket, token) = (&mut client.transport.socket, Token(subscriber.index()));
            let waits = self.pollers.promptly(socket, token, interest);
            waits.map_err(|_| EndReason::Left)?;
        }
        Ok(written)
    }

    /// Restores the usual send buffer of a client whose buffer was not full since the last visit.
    pub(crate) fn relax(&mut self, subscriber: SubscriberId) {
        if let Some(full) = self.full.get_mut(&subscriber)
            && !std::mem::take(&mut full.lately)
            && let Some(mut full) = self.full.remove(&subscriber)
            && let Some(client) = self.get(subscriber)
        {
            self.buffers.relax(&mut full.buffer, &client.transport.socket);
        }
    }

    pub(crate) fn remove(&mut self, subscriber: SubscriberId) -> Option<Client<G>> {
        self.full.remove(&subscriber);
        self.table.try_remove(subscriber)
    }

    /// Removes all clients.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Client<G>> {
        self.table.drain()
    }
}

impl<G: StreamObserver> Sink for Clients<G> {
    fn write(&mut self, subscriber: SubscriberId, bytes: &[u8], events: u32) -> Written {
        self.cost += 1 + bytes.len() / BYTES_PER_COST;
        match self.try_write(subscriber, bytes, events) {
            Ok(written) => Written::Bytes(written),
            Err(reason) => {
                self.ended.push((subscriber, reason));
                Written::Gone
            }
        }
    }

    fn ended(&mut self, subscriber: SubscriberId, failed: bool) {
        let reason = if failed { EndReason::Failed } else { EndReason::Completed };
        self.ended.push((subscriber, reason));
    }

    fn client(&self, subscriber: SubscriberId) -> Option<carafe_hub::Client> {
        self.get(subscriber)?.observer.client()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There may be a million clients. In release builds, a socket takes 4 bytes, and a client 16
    /// beside its observer.
    #[test]
    fn a_client_takes_its_socket_its_number_and_a_pointer_beside_its_observer() {
        type Observer = Box<u64>;
        let socket_and_number = (size_of::<TcpStream>() + 4).next_multiple_of(8);
        let expected = socket_and_number + 8 + size_of::<Observer>();
        assert_eq!(size_of::<Option<Client<Observer>>>(), expected);
    }
}
