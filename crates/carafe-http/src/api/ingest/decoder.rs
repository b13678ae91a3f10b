//! Decodes the events of a body as their bytes arrive.

use crate::answer::problem::Problem;
use crate::api::ingest::blocks::Blocks;
use crate::api::ingest::events::Decoded;
use crate::api::ingest::lines::EventLines;
use crate::api::ingest::request::{Form, Template};
use crate::api::options::Options;

/// The decoder of a body. It yields the same events however the bytes are split, each when its last
/// byte arrives.
pub(crate) enum Decoder<'a> {
    Blocks(Blocks<'a>),
    Lines(EventLines<'a>),
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(form: Form, template: &'a Template, options: &'a Options) -> Self {
        match form {
            Form::EventStream => Self::Blocks(Blocks::new(template, options)),
            Form::Ndjson => Self::Lines(EventLines::ndjson(template, options)),
            Form::Lines => Self::Lines(EventLines::plain(template, options)),
        }
    }

    /// Decodes the next event that is complete in `input`, and moves `input` past it. A problem
    /// names its place.
    pub(crate) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Decoded>, Problem> {
        match self {
            Self::Blocks(blocks) => blocks.next(input),
            Self::Lines(lines) => lines.next(input),
        }
    }

    /// The last event, after the body has ended in order.
    pub(crate) fn last(&mut self) -> Result<Option<Decoded>, Problem> {
        match self {
            // WHATWG HTML, 9.2.6: a block without its blank line is dropped.
            Self::Blocks(_) => Ok(None),
            Self::Lines(lines) => lines.last(),
        }
    }

    /// The bytes that are kept of the event that is not complete.
    pub(crate) fn buffered(&self) -> usize {
        match self {
            Self::Blocks(blocks) => blocks.buffered(),
            Self::Lines(lines) => lines.buffered(),
        }
    }
}
