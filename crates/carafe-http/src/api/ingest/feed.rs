//! Reads an open body, decodes its events and stores them, no faster than the log commits.

use std::future::pending;

use bytes::{Buf, Bytes};
use carafe_log::Publication;
use tokio::time::{Instant, sleep_until};

use crate::answer::problem::Problem;
use crate::api::allowance;
use crate::api::app::App;
use crate::api::caller::Caller;
use crate::api::ingest::decoder::Decoder;
use crate::api::ingest::events::Decoded;
use crate::api::ingest::interruption::{Interruption, Interruptions};
use crate::api::ingest::open_body::OpenBody;
use crate::api::ingest::store::Store;
use crate::api::publication::not_stored;
use crate::policy::publish_rate::Publisher;

/// How a request ends.
pub(crate) enum End {
    /// The body has ended in order.
    Complete,
    /// An event is wrong or cannot be stored. The rest of the body is not read.
    Failed(Problem),
    /// The client is gone, or silent.
    Broken(Problem),
    Interrupted(Interruption),
}

/// What an open body waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// More bytes.
    Bytes,
    /// Room in the batch: the log has to store the one before it.
    Append,
    /// The rate of the publisher allows the next event then.
    Allowance(Instant),
    /// Memory.
    Memory,
    /// Nothing: all events are decoded.
    Nothing,
}

/// An ingest request that is being served.
pub(crate) struct Feed<'a> {
    pub(crate) app: &'a App,
    pub(crate) caller: &'a Caller<'a>,
    pub(crate) publisher: Option<Publisher>,
    pub(crate) decoder: Decoder<'a>,
    pub(crate) body: OpenBody,
    pub(crate) store: Store,
    /// What was read and is not decoded.
    pub(crate) input: Bytes,
    /// An event that the publisher's rate does not allow yet.
    pub(crate) early: Option<Decoded>,
    /// The body has ended.
    pub(crate) has_ended: bool,
    /// The hub does not read now, so the client's silence does not count.
    pub(crate) is_deaf: bool,
    /// The next event begins a new life of the topics.
    pub(crate) reopens: bool,
}

impl Feed<'_> {
    /// Serves the request. All events before its end are stored, as far as the log takes them.
    /// `last` is the end of the topic after a complete body.
    pub(crate) async fn run(
        &mut self,
        interruptions: &mut Interruptions,
        last: Option<Publication>,
    ) -> End {
        let end = match self.feed(interruptions).await {
            Ok(()) => self.end_topic(last).await.err().unwrap_or(End::Complete),
            Err(end) => end,
        };
        let flushed = self.store.flush().await;
        match end {
            End::Broken(_) => self.store.abort().await,
            _ => self.store.is_done(),
        }
        match (flushed, end) {
            // The log's answer: the event is before the one that has ended the request.
            (Err(failed), End::Complete | End::Failed(_)) => End::Failed(failed),
            (_, end) => end,
        }
    }

    async fn feed(&mut self, interruptions: &mut Interruptions) -> Result<(), End> {
        loop {
            let need = self.decode().await?;
            if self.store.begin() && need == Need::Append {
                continue;
            }
            if need == Need::Memory && !self.store.is_appending() {
                self.store.wait_for_room(self.next()).await.map_err(End::Failed)?;
                continue;
            }
            if need == Need::Nothing && self.store.is_idle() {
                return Ok(());
            }
            let is_appending = self.store.is_appending();
            let received = tokio::select! {
                biased;
                interruption = interruptions.next() => return Err(End::Interrupted(interruption)),
                appended = self.store.appended(), if is_appending => {
                    appended.map_err(End::Failed)?;
                    continue;
                }
                received = wait(&mut self.body, need) => received.map_err(End::Broken)?,
            };
            match (need, received) {
                (Need::Bytes, Some(bytes)) => self.input = bytes,
                (Need::Bytes, None) => self.has_ended = true,
                _ => {}
            }
        }
    }

    /// All events are stored.
    async fn end_topic(&mut self, last: Option<Publication>) -> Result<(), End> {
        let Some(last) = last else { return Ok(()) };
        // It counts for the rate, but a topic must not stay open for it.
        allowance::spend(self.app, self.publisher);
        let ended = self.app.hub.publish(last).await;
        ended.map(drop).map_err(|error| End::Failed(not_stored(error)))
    }

    /// Decodes what has arrived, as far as there is room for it.
    async fn decode(&mut self) -> Result<Need, End> {
        let need = self.decode_on().await?;
        if need != Need::Bytes {
            self.is_deaf = true;
        } else if std::mem::take(&mut self.is_deaf) {
            self.body.is_read_again();
        }
        Ok(need)
    }

    async fn decode_on(&mut self) -> Result<Need, End> {
        let mut is_another = false;
        loop {
            if !self.store.has_room(self.next()).await {
                return Ok(Need::Memory);
            }
            if self.store.is_full() {
                return Ok(Need::Append);
            }
            let Some(event) = self.next_event()? else { break };
            is_another = true;
            if let Some(time) = allowance::take_or_wait(self.app, self.publisher) {
                // No longer than a client may be silent: a request must not hold memory for hours.
                if time > self.app.options.body_timeout {
                    return Err(End::Failed(Problem::too_fast(time).at(event.place)));
                }
                self.early = Some(event);
                // It may wait for long, so its memory has to be from the budget.
                if !self.store.has_room(self.next()).await {
                    return Ok(Need::Memory);
                }
                return Ok(Need::Allowance(Instant::now() + time));
            }
            self.push(event);
        }
        self.body.unfinished(self.decoder.buffered(), is_another);
        Ok(if self.has_ended { Need::Nothing } else { Need::Bytes })
    }

    fn push(&mut self, mut event: Decoded) {
        if std::mem::take(&mut self.reopens) {
            event.publication = event.publication.with_reopening(true);
        }
        self.store.push(event);
    }

    /// The next event that is complete, if the client may publish it.
    fn next_event(&mut self) -> Result<Option<Decoded>, End> {
        if self.early.is_some() {
            return Ok(self.early.take());
        }
        let mut input = &self.input[..];
        let decoded = match self.decoder.next(&mut input) {
            Ok(None) if self.has_ended => self.decoder.last(),
            decoded => decoded,
        };
        let used = self.input.len() - input.len();
        self.input.advance(used);
        decoded.and_then(|decoded| self.check(decoded)).map_err(|problem| {
            // What is wrong has cost as much as an event that is stored.
            allowance::spend(self.app, self.publisher);
            End::Failed(problem)
        })
    }

    /// Checks that the client may publish the event.
    fn check(&self, decoded: Option<Decoded>) -> Result<Option<Decoded>, Problem> {
        if let Some(event) = &decoded {
            let may = self.caller.may_publish_to(event.publication.topics());
            may.map_err(|problem| problem.at(event.place))?;
        }
        Ok(decoded)
    }

    /// The memory of the next event: of an unfinished one as received, and decoded, and of one that
    /// the publisher's rate does not allow yet.
    fn next(&self) -> usize {
        2 * self.decoder.buffered() + self.early.as_ref().map_or(0, Decoded::weight)
    }
}

/// Waits for what is needed beside the log.
async fn wait(body: &mut OpenBody, need: Need) -> Result<Option<Bytes>, Problem> {
    match need {
        Need::Bytes => body.next().await,
        Need::Allowance(then) => {
            sleep_until(then).await;
            Ok(None)
        }
        Need::Append | Need::Memory | Need::Nothing => pending().await,
    }
}
