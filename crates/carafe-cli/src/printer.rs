//! How `carafe subscribe` prints events.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use carafe_client::ReceivedEvent;
use jiff::Timestamp;
use serde::Deserialize;

use crate::cli::{Field, SubscribeOptions, Template};
use crate::failure::Failure;

/// Makes lines of events, and leaves out those that are too old.
pub(crate) struct Printer {
    form: Form,
    /// Whether events arrive in envelopes.
    envelopes: bool,
    /// The time before which events are too old, until one is not.
    since: Option<Timestamp>,
}

enum Form {
    Data,
    /// The envelope of the hub, unchanged.
    Json,
    Template(Template),
}

/// An event with its metadata, as the hub sends it with `envelope=json`.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    id: Cow<'a, str>,
    time: Cow<'a, str>,
    #[serde(rename = "type")]
    event_type: Option<Cow<'a, str>>,
    data: Cow<'a, str>,
}

impl Printer {
    pub(crate) fn new(options: &SubscribeOptions) -> Self {
        let form = match &options.format {
            Some(template) => Form::Template(template.clone()),
            None if options.json => Form::Json,
            None => Form::Data,
        };
        let since = options.since.map(ago);
        Self { envelopes: since.is_some() || !matches!(form, Form::Data), form, since }
    }

    /// Prints events of any age: the stream begins where an earlier run has ended.
    pub(crate) fn resumed(self) -> Self {
        Self { since: None, ..self }
    }

    /// Whether the hub has to send envelopes.
    pub(crate) fn needs_envelopes(&self) -> bool {
        self.envelopes
    }

    /// The time before which events are too old.
    pub(crate) fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// The line for an event; `None` if it is too old.
    pub(crate) fn line(&mut self, event: &ReceivedEvent) -> Result<Option<String>, Failure> {
        if !self.envelopes {
            return Ok(Some(event.data.clone()));
        }
        let envelope = Envelope::of(event)?;
        if self.since.is_some_and(|since| envelope.time() < since) {
            return Ok(None);
        }
        // All others are new, even if a clock is wrong.
        self.since = None;
        Ok(Some(match &self.form {
            Form::Data => envelope.data.into(),
            Form::Json => event.data.clone(),
            Form::Template(template) => template.fill(|field| envelope.get(field)),
        }))
    }
}

/// The time of an event in an envelope.
pub(crate) fn time_of(event: &ReceivedEvent) -> Result<Timestamp, Failure> {
    Ok(Envelope::of(event)?.time())
}

impl<'a> Envelope<'a> {
    fn of(event: &'a ReceivedEvent) -> Result<Self, Failure> {
        serde_json::from_str(&event.data).map_err(|error| {
            Failure::failed(format!("the server sends no envelopes, so it is no hub: {error}"))
        })
    }

    /// An event whose time cannot be read is not left out.
    fn time(&self) -> Timestamp {
        self.time.parse().unwrap_or(Timestamp::MAX)
    }
}

impl Envelope<'_> {
    fn get(&self, field: Field) -> &str {
        match field {
            Field::Topic => &self.topic,
            Field::Id => &self.id,
            Field::Time => &self.time,
            Field::Type => self.event_type.as_deref().unwrap_or("message"),
            Field::Data => &self.data,
        }
    }
}

/// So long ago, or the beginning of time.
fn ago(age: Duration) -> Timestamp {
    let time = SystemTime::now().checked_sub(age).and_then(|time| Timestamp::try_from(time).ok());
    time.unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(data: &str) -> ReceivedEvent {
        let (event_type, last_event_id) = ("message".into(), String::new());
        ReceivedEvent { event_type, data: data.into(), last_event_id }
    }

    #[test]
    fn events_before_the_time_are_left_out() {
        let since = Some("2026-11-23T08:15:00Z".parse().unwrap());
        let mut printer = Printer { form: Form::Data, envelopes: true, since };
        for (time, line) in [
            ("2026-11-23T08:14:59.999Z", None),
            ("2026-11-23T08:15:00.000Z", Some("x\n\"")),
            // The clock was set back.
            ("2026-11-23T08:14:01.000Z", Some("x\n\"")),
        ] {
            let envelope =
                format!(r#"{{"topic":"a","id":"1-1-1","time":"{time}","data":"x\n\""}}"#);
            let printed = printer.line(&event(&envelope)).unwrap();
            assert_eq!(printed.as_deref(), line, "{time}");
        }
    }

    #[test]
    fn without_a_time_and_a_form_data_is_printed_as_it_arrives() {
        let mut printer = Printer { form: Form::Data, envelopes: false, since: None };
        assert_eq!(printer.line(&event("{no envelope")).unwrap().unwrap(), "{no envelope");
    }

    #[test]
    fn data_that_is_no_envelope_is_an_error_if_there_is_a_form() {
        let form = Form::Template(Template::parse("{data}").unwrap());
        assert!(Printer { form, envelopes: true, since: None }.line(&event("x")).is_err());
    }
}
