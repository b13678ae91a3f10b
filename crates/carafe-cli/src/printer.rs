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
        Self { form, since: options.since.and_then(ago) }
    }

    /// Prints events of any age: the stream begins where an earlier run has ended.
    pub(crate) fn resumed(self) -> Self {
        Self { since: None, ..self }
    }

    /// Whether the hub has to send envelopes.
    pub(crate) fn needs_envelopes(&self) -> bool {
        self.since.is_some() || !matches!(self.form, Form::Data)
    }

    /// Whether the stream has to begin with the history.
    pub(crate) fn needs_history(&self) -> bool {
        self.since.is_some()
    }

    /// The line for an event; `None` if it is too old.
    pub(crate) fn line(&mut self, event: &ReceivedEvent) -> Result<Option<String>, Failure> {
        if !self.needs_envelopes() {
            return Ok(Some(event.data.clone()));
        }
        let envelope: Envelope<'_> = serde_json::from_str(&event.data).map_err(|error| {
            Failure::failed(format!("the server sends no envelopes, so it is no hub: {error}"))
        })?;
        if self.since.is_some_and(|since| is_before(&envelope.time, since)) {
            return Ok(None);
        }
        Ok(Some(match &self.form {
            Form::Data => envelope.data.into(),
            Form::Json => event.data.clone(),
            Form::Template(template) => template.fill(|field| envelope.get(field)),
        }))
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

/// The time before which events are too old. A time before all events needs no limit.
fn ago(age: Duration) -> Option<Timestamp> {
    SystemTime::now().checked_sub(age).and_then(|time| Timestamp::try_from(time).ok())
}

fn is_before(time: &str, since: Timestamp) -> bool {
    time.parse().is_ok_and(|time: Timestamp| time < since)
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
        let mut printer = Printer { form: Form::Data, since };
        for (time, line) in [
            ("2026-11-23T08:14:59.999Z", None),
            ("2026-11-23T08:15:00.000Z", Some("x\n\"")),
            ("2026-11-23T08:15:01.000Z", Some("x\n\"")),
        ] {
            let envelope =
                format!(r#"{{"topic":"a","id":"1-1-1","time":"{time}","data":"x\n\""}}"#);
            let printed = printer.line(&event(&envelope)).unwrap();
            assert_eq!(printed.as_deref(), line, "{time}");
        }
    }

    #[test]
    fn without_a_time_and_a_form_data_is_printed_as_it_arrives() {
        let mut printer = Printer { form: Form::Data, since: None };
        assert!(!printer.needs_envelopes());
        assert_eq!(printer.line(&event("{no envelope")).unwrap().unwrap(), "{no envelope");
    }

    #[test]
    fn data_that_is_no_envelope_is_an_error_if_there_is_a_form() {
        let form = Form::Template(Template::parse("{data}").unwrap());
        assert!(Printer { form, since: None }.line(&event("x")).is_err());
    }
}
