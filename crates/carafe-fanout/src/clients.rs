//! The clients of a shard, each with its socket.

use std::collections::HashMap;

use carafe_hub::{Sink, SubscriberId, Written};
use mio::net::TcpStream;
use mio::{Interest, Token};

use crate::watch::Watch;
use crate::{Ended, SendBuffer, SendBuffers, StreamObserver, socket};

/// How many places a page has.
const PAGE: usize = 512;

/// The clients, by their seats in the dispatcher.
pub(crate) struct Clients<G> {
    // In pages, so that growing neither copies them nor leaves the memory they were in behind.
    pages: Vec<Vec<Option<Client<G>>>>,
    /// Counts clients, so that a deadline knows its own.
    joined: u32,
    /// Those that the dispatcher has forgotten.
    pub(crate) over: Vec<(SubscriberId, Ended)>,
    /// Counts what is asked of the kernel.
    pub(crate) writes: usize,
    watch: Watch,
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
    pub(crate) fn end(self, ended: Ended) -> TcpStream {
        self.observer.ended(ended);
        self.socket
    }
}

impl<G: StreamObserver> Clients<G> {
    pub(crate) fn new(watch: Watch, buffers: SendBuffers) -> Self {
        let (pages, over, full) = (Vec::new(), Vec::new(), HashMap::new());
        Self { pages, joined: 0, over, writes: 0, watch, buffers, full }
    }

    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    pub(crate) fn get(&self, seat: SubscriberId) -> Option<&Client<G>> {
        self.pages.get(seat as usize / PAGE)?[seat as usize % PAGE].as_ref()
    }

    /// How many places there are, some of them empty.
    pub(crate) fn places(&self) -> SubscriberId {
        SubscriberId::try_from(self.pages.len() * PAGE).unwrap_or(SubscriberId::MAX)
    }

    /// Gives the seat a client, and the client a number.
    pub(crate) fn insert(&mut self, seat: SubscriberId, socket: TcpStream, observer: G) -> u32 {
        let (page, at) = (seat as usize / PAGE, seat as usize % PAGE);
        while self.pages.len() <= page {
            self.pages.push(std::iter::repeat_with(|| None).take(PAGE).collect());
        }
        self.joined = self.joined.wrapping_add(1);
        self.pages[page][at] = Some(Client { socket, number: self.joined, observer });
        self.joined
    }

    /// Is told when there is room, if there was not enough: most clients always have it, and are
    /// not asked for it.
    fn try_write(&mut self, seat: SubscriberId, bytes: &[u8]) -> Result<usize, Ended> {
        let page = self.pages.get_mut(seat as usize / PAGE);
        let Some(client) = page.and_then(|page| page[seat as usize % PAGE].as_mut()) else {
            return Err(Ended::Gone);
        };
        let mut written = socket::write(&client.socket, bytes)?;
        if written == bytes.len() {
            return Ok(written);
        }
        let full = self.full.entry(seat).or_default();
        full.lately = true;
        if self.buffers.filled(&mut full.buffer, &client.socket) {
            written += socket::write(&client.socket, &bytes[written..])?;
        }
        if written < bytes.len() {
            let interest = Interest::READABLE | Interest::WRITABLE;
            let waits = self.watch.promptly(&mut client.socket, Token(seat as usize), interest);
            waits.map_err(|_| Ended::Gone)?;
        }
        Ok(written)
    }

    /// Gives a client its usual send buffer again, if it has taken all since it was last looked at.
    pub(crate) fn relax(&mut self, seat: SubscriberId) {
        if let Some(full) = self.full.get_mut(&seat)
            && !std::mem::take(&mut full.lately)
            && let Some(mut full) = self.full.remove(&seat)
            && let Some(client) = self.get(seat)
        {
            self.buffers.relax(&mut full.buffer, &client.socket);
        }
    }

    pub(crate) fn remove(&mut self, seat: SubscriberId) -> Option<Client<G>> {
        self.full.remove(&seat);
        self.pages.get_mut(seat as usize / PAGE)?[seat as usize % PAGE].take()
    }

    /// All of them, when the shard ends.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Client<G>> {
        self.pages.drain(..).flatten().flatten()
    }
}

impl<G: StreamObserver> Sink for Clients<G> {
    fn write(&mut self, seat: SubscriberId, bytes: &[u8]) -> Written {
        self.writes += 1;
        match self.try_write(seat, bytes) {
            Ok(written) => Written::Bytes(written),
            Err(ended) => {
                self.over.push((seat, ended));
                Written::Gone
            }
        }
    }

    fn ended(&mut self, seat: SubscriberId, failed: bool) {
        self.over.push((seat, if failed { Ended::Failed } else { Ended::Whole }));
    }

    fn client(&self, seat: SubscriberId) -> Option<carafe_hub::Client> {
        self.get(seat)?.observer.client()
    }
}
