//! The events of a body in which each line is one: as JSON, or as its data.

use carafe_log::Publication;

use crate::answer::limit::Limit;
use crate::answer::problem::{Place, Problem};
use crate::api::body::{bad_utf_8, too_large};
use crate::api::ingest::events::Decoded;
use crate::api::ingest::request::Template;
use crate::api::line_event::{LineEvent, longest_line, too_long};
use crate::api::lines::Lines;
use crate::api::options::Options;

/// Decodes lines.
pub(crate) struct EventLines<'a> {
    lines: Lines,
    is_json: bool,
    template: &'a Template,
    options: &'a Options,
}

impl<'a> EventLines<'a> {
    /// Each line is an event as JSON. Blank lines keep the request open, and are no events.
    pub(crate) fn ndjson(template: &'a Template, options: &'a Options) -> Self {
        let lines = Lines::new(longest_line(options), too_long);
        Self { lines, is_json: true, template, options }
    }

    /// Each line is the data of an event. Empty lines are events, too.
    pub(crate) fn plain(template: &'a Template, options: &'a Options) -> Self {
        // With a CR, which does not count, and a byte order mark.
        let longest = options.event_bytes.saturating_add(4);
        let lines = Lines::new(longest, |longest| {
            too_large(longest.saturating_sub(4)).over(Limit::EventBytes)
        });
        Self { lines, is_json: false, template, options }
    }

    pub(crate) fn buffered(&self) -> usize {
        self.lines.begun()
    }

    pub(crate) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Decoded>, Problem> {
        loop {
            let line = self.lines.next(input).map_err(|problem| {
                // The line that has begun.
                problem.at(Place::Line(self.lines.number() as u64))
            })?;
            let Some((number, line)) = line else { return Ok(None) };
            if let Some(decoded) = self.decode(number, &line)? {
                return Ok(Some(decoded));
            }
        }
    }

    /// The line without a line break at the end of a body.
    pub(crate) fn last(&mut self) -> Result<Option<Decoded>, Problem> {
        let Some((number, line)) = self.lines.last() else { return Ok(None) };
        self.decode(number, &line)
    }

    fn decode(&self, number: usize, line: &[u8]) -> Result<Option<Decoded>, Problem> {
        let place = Place::Line(number as u64);
        let publication = std::str::from_utf8(line).map_err(|_| bad_utf_8()).and_then(|line| {
            match self.is_json {
                true if line.trim().is_empty() => Ok(None),
                true => self.json(line).map(Some),
                false => self.plain_line(line).map(Some),
            }
        });
        let publication = publication.map_err(|problem| problem.at(place))?;
        let apply = |publication| Decoded { place, publication: self.template.apply(publication) };
        Ok(publication.map(apply))
    }

    fn json(&self, line: &str) -> Result<Publication, Problem> {
        let event = LineEvent::parse(line, self.options)?;
        match &self.template.topics {
            Some((first, alternates)) => event.publication_to(first, alternates),
            None => event.publication(),
        }
    }

    fn plain_line(&self, line: &str) -> Result<Publication, Problem> {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let longest = self.options.event_bytes;
        if line.len() > longest {
            return Err(too_large(longest).over(Limit::EventBytes));
        }
        Ok(self.template.publication(line.to_owned()).expect("its form needs a topic"))
    }
}
