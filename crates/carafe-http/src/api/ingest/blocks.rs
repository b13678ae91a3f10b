//! The events of a `text/event-stream`: one for each block with data.

use std::time::Duration;

use carafe_log::Publication;
use carafe_protocol::{Decoder, Received, ReceivedEvent};

use crate::answer::limit::Limit;
use crate::answer::problem::{Place, Problem};
use crate::api::body::too_large;
use crate::api::ingest::events::Decoded;
use crate::api::ingest::request::Template;
use crate::api::options::Options;
use crate::api::publication::{Parameters, event_type, key};

/// Bytes of a block besides its data: type, ID, and the name of a field.
const NAMES: usize = 4 << 10;

/// The type of events that name none (WHATWG HTML, 9.2.6).
const DEFAULT_TYPE: &str = "message";

/// Decodes the blocks of an event stream. `id:` is the idempotency key of its event.
pub(crate) struct Blocks<'a> {
    decoder: Decoder,
    /// Events before this one.
    before: u64,
    /// What the block that is being read says of the time to reconnect.
    retry: Option<Duration>,
    template: &'a Template,
    options: &'a Options,
}

impl<'a> Blocks<'a> {
    pub(crate) fn new(template: &'a Template, options: &'a Options) -> Self {
        let decoder = Decoder::new().with_limit(options.event_bytes.saturating_add(NAMES));
        Self { decoder, before: 0, retry: None, template, options }
    }

    pub(crate) fn buffered(&self) -> usize {
        self.decoder.buffered()
    }

    pub(crate) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Decoded>, Problem> {
        let place = Place::Event(self.before + 1);
        let wrong = |problem: Problem| problem.at(place);
        let Some(event) = self.next_block(input).map_err(wrong)? else { return Ok(None) };
        self.before += 1;
        let publication = self.publication(event).map_err(wrong)?;
        Ok(Some(Decoded { place, publication }))
    }

    fn next_block(&mut self, input: &mut &[u8]) -> Result<Option<ReceivedEvent>, Problem> {
        loop {
            match self.decoder.decode(input).map_err(|_| self.too_large())? {
                Some(Received::Event(event)) => {
                    // Only an ID that the event has itself is its key: to inherit one would make it
                    // a repetition.
                    self.decoder.take_last_event_id();
                    return Ok(Some(event));
                }
                Some(Received::Retry(time)) => self.retry = Some(time),
                // Comments keep the request open, and are no events.
                Some(Received::Comment(_)) => {}
                None => return Ok(None),
            }
        }
    }

    fn publication(&mut self, event: ReceivedEvent) -> Result<Publication, Problem> {
        if event.data.len() > self.options.event_bytes {
            return Err(self.too_large());
        }
        let is_named = event.event_type != DEFAULT_TYPE;
        let parameters = Parameters {
            event_type: is_named.then(|| event_type(&event.event_type)).transpose()?,
            key: (!event.id().is_empty()).then(|| key(event.id())).transpose()?,
            retry: self.retry.take(),
            private: false,
        };
        let mut data = event.data;
        // Data of several lines is collected in a buffer that is doubled.
        data.shrink_to_fit();
        let publication = self.template.publication(data).expect("its form needs a topic");
        Ok(self.template.apply(parameters.apply(publication, self.options)))
    }

    fn too_large(&self) -> Problem {
        too_large(self.options.event_bytes).over(Limit::EventBytes)
    }
}
