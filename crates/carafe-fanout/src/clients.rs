//! The clients of a shard, each with its socket.

use std::collections::HashMap;

use carafe_hub::{PagedTable, Sink, SubscriberId, TableKey, Written};
use mio::net::TcpStream;
use mio::{Interest, Token};

use crate::pollers::Pollers;
use crate::{EndReason, SendBuffer, SendBuffers, StreamObserver, socket};

/// The clients, by their seats in the dispatcher.
pub(crate) struct Clients<G> {
    table: PagedTable<SubscriberId, Client<G>>,
    /// Counts clients, so that a deadline knows its own.
    joined: u32,
    /// Those that the dispatcher has forgotten.
    pub(crate) ended: Vec<(SubscriberId, EndReason)>,
    /// Counts what is asked of the kernel.
    pub(crate) writes: usize,
    pollers: Pollers,
    buffers: SendBuffers,
    /// Those whose buffer was full lately: few, so that a client takes no more memory for it.
    full: HashMap<SubscriberId, Full>,
}

/// A send buffer that was full.
#[derive(Default)]
struct Full {
    buffer: SendBuffer,
    /// Whether it was full since it was last looked at.
    lately: bool,
}

/// A client, and who wants to know when it has gone.
pub(crate) struct Client<G> {
    pub(crate) socket: TcpStream,
    pub(crate) number: u32,
    observer: G,
}

impl<G: StreamObserver> Client<G> {
    pub(crate) fn end(self, ended: EndReason) -> TcpStream {
        self.observer.ended(ended);
        self.socket
    }
}

impl<G: StreamObserver> Clients<G> {
    pub(crate) fn new(pollers: Pollers, buffers: SendBuffers) -> Self {
        let (table, ended, full) = (PagedTable::new(), Vec::new(), HashMap::new());
        Self { table, joined: 0, ended, writes: 0, pollers, buffers, full }
    }

    pub(crate) fn pollers(&self) -> &Pollers {
        &self.pollers
    }

    pub(crate) fn get(&self, subscriber: SubscriberId) -> Option<&Client<G>> {
        self.table.get(subscriber)
    }

    /// How many places there are, some of them empty.
    pub(crate) fn places(&self) -> u32 {
        u32::try_from(self.table.bound()).unwrap_or(u32::MAX)
    }

    /// Gives the subscriber a client, and the client a number.
    pub(crate) fn insert(
        &mut self,
        subscriber: SubscriberId,
        socket: TcpStream,
        observer: G,
    ) -> u32 {
        self.joined = self.joined.wrapping_add(1);
        self.table.insert_at(subscriber, Client { socket, number: self.joined, observer });
        self.joined
    }

    /// Is told when there is room, if there was not enough: most clients always have it, and are
    /// not asked for it.
    fn try_write(&mut self, subscriber: SubscriberId, bytes: &[u8]) -> Result<usize, EndReason> {
        let Some(client) = self.table.get_mut(subscriber) else { return Err(EndReason::Left) };
        let mut written = socket::write(&client.socket, bytes)?;
        client.observer.sent(written);
        if written == bytes.len() {
            return Ok(written);
        }
        let full = self.full.entry(subscriber).or_default();
        full.lately = true;
        if self.buffers.filled(&mut full.buffer, &client.socket) {
            let more = socket::write(&client.socket, &bytes[written..])?;
            client.observer.sent(more);
            written += more;
        }
        if written < bytes.len() {
            let interest = Interest::READABLE | Interest::WRITABLE;
            let waits =
                self.pollers.promptly(&mut client.socket, Token(subscriber.index()), interest);
            waits.map_err(|_| EndReason::Left)?;
        }
        Ok(written)
    }

    /// Gives a client its usual send buffer again, if it has taken all since it was last looked at.
    pub(crate) fn relax(&mut self, subscriber: SubscriberId) {
        if let Some(full) = self.full.get_mut(&subscriber)
            && !std::mem::take(&mut full.lately)
            && let Some(mut full) = self.full.remove(&subscriber)
            && let Some(client) = self.get(subscriber)
        {
            self.buffers.relax(&mut full.buffer, &client.socket);
        }
    }

    pub(crate) fn remove(&mut self, subscriber: SubscriberId) -> Option<Client<G>> {
        self.full.remove(&subscriber);
        self.table.try_remove(subscriber)
    }

    /// All of them, when the shard ends.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Client<G>> {
        self.table.drain()
    }
}

impl<G: StreamObserver> Sink for Clients<G> {
    fn write(&mut self, subscriber: SubscriberId, bytes: &[u8]) -> Written {
        self.writes += 1;
        match self.try_write(subscriber, bytes) {
            Ok(written) => Written::Bytes(written),
            Err(ended) => {
                self.ended.push((subscriber, ended));
                Written::Gone
            }
        }
    }

    fn ended(&mut self, subscriber: SubscriberId, failed: bool) {
        self.ended
            .push((subscriber, if failed { EndReason::Failed } else { EndReason::Completed }));
    }

    fn client(&self, subscriber: SubscriberId) -> Option<carafe_hub::Client> {
        self.get(subscriber)?.observer.client()
    }
}
