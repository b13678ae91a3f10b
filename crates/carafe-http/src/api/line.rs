//! Parses one line of a batch: a publication with its topics and data.
//!
//! It builds no tree of the JSON, so that it takes no more memory than the text.

use std::fmt;
use std::io;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

/// The fields of a line, not validated yet.
pub(crate) struct Line {
    pub(crate) topic: Option<String>,
    pub(crate) alternates: Option<Alternates>,
    pub(crate) data: Data,
    pub(crate) event: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) retry: Option<u64>,
    pub(crate) private: bool,
}

/// The data of an event.
pub(crate) enum Data {
    /// A string as it is, and any other value as its JSON.
    Text(String),
    TooLong,
}

/// The alternate topics of an event.
pub(crate) enum Alternates {
    Topics(Vec<String>),
    TooMany,
}

impl Line {
    /// Parses a line with limits on the bytes of its data and on its topics.
    pub(crate) fn parse(
        text: &str,
        event_bytes: usize,
        topics: usize,
    ) -> Result<Self, serde_json::Error> {
        let mut json = serde_json::Deserializer::from_str(text);
        let line = json
            .deserialize_map(LineVisitor { event_bytes, alternates: topics.saturating_sub(1) })?;
        // Nothing may follow the object: two events on one line would become one.
        json.end()?;
        Ok(line)
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Field {
    Topic,
    Alternates,
    Data,
    /// Envelopes and other programs call it `type`.
    #[serde(alias = "type")]
    Event,
    Id,
    Retry,
    Private,
}

struct LineVisitor {
    event_bytes: usize,
    alternates: usize,
}

impl<'de> Visitor<'de> for LineVisitor {
    type Value = Line;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `data`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line, A::Error> {
        let (mut topic, mut data, mut alternates) = (None, None, None);
        let (mut event, mut id, mut retry, mut private) = (None, None, None, None);
        while let Some(field) = map.next_key()? {
            match field {
                Field::Topic => once(&mut topic, "topic", map.next_value()?)?,
                Field::Alternates => {
                    once(
                        &mut alternates,
                        "alternates",
                        map.next_value_seed(AtMost(self.alternates))?,
                    )?;
                }
                Field::Data => {
                    once(&mut data, "data", map.next_value_seed(Bounded::new(self.event_bytes))?)?;
                }
                Field::Event => once(&mut event, "event", map.next_value()?)?,
                Field::Id => once(&mut id, "id", map.next_value()?)?,
                Field::Retry => once(&mut retry, "retry", map.next_value()?)?,
                Field::Private => once(&mut private, "private", map.next_value()?)?,
            }
        }
        Ok(Line {
            topic,
            alternates,
            data: data.ok_or_else(|| A::Error::missing_field("data"))?,
            event: event.flatten(),
            id: id.flatten(),
            retry: retry.flatten(),
            private: private.unwrap_or_default(),
        })
    }
}

fn once<T, E: Error>(place: &mut Option<T>, name: &'static str, value: T) -> Result<(), E> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::duplicate_field(name)),
    }
}

/// Reads an array of at most so many strings. The rest is skipped.
struct AtMost(usize);

impl<'de> DeserializeSeed<'de> for AtMost {
    type Value = Alternates;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Alternates, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for AtMost {
    type Value = Alternates;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of topics")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Alternates, A::Error> {
        let mut topics = Vec::new();
        while topics.len() < self.0 {
            let Some(topic) = seq.next_element()? else { return Ok(Alternates::Topics(topics)) };
            topics.push(topic);
        }
        let mut is_over = false;
        // Skipped, not stored: the memory stays within that of the allowed topics. The rest must
        // still be valid JSON.
        while seq.next_element::<IgnoredAny>()?.is_some() {
            is_over = true;
        }
        Ok(if is_over { Alternates::TooMany } else { Alternates::Topics(topics) })
    }
}

/// Writes a value as compact JSON while it is read, up to a limit.
struct Bounded {
    text: Vec<u8>,
    limit: usize,
    is_over: bool,
}

impl Bounded {
    fn new(limit: usize) -> Self {
        Self { text: Vec::new(), limit, is_over: false }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.is_over |= self.text.len() + bytes.len() > self.limit;
        if self.is_over {
            // Frees what was written. The value is read to its end all the same, so that the line's
            // other errors are reported.
            self.text = Vec::new();
        } else {
            self.text.extend_from_slice(bytes);
        }
    }

    fn put_json<E: Error>(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), E> {
        serde_json::to_writer(self, value).map_err(E::custom)
    }

    fn data<E: Error>(mut self) -> Result<Data, E> {
        if self.is_over {
            return Ok(Data::TooLong);
        }
        self.text.shrink_to_fit();
        // serde_json writes only UTF-8.
        String::from_utf8(self.text).map(Data::Text).map_err(E::custom)
    }
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Bounded {
    type Value = Data;

    fn deserialize<D: Deserializer<'de>>(mut self, deserializer: D) -> Result<Data, D::Error> {
        deserializer.deserialize_any(Json { out: &mut self, within: false })?;
        self.data()
    }
}

/// Writes a value. A string that is the whole data is written without quotes.
struct Json<'a> {
    out: &'a mut Bounded,
    within: bool,
}

impl<'de> Visitor<'de> for Json<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.out.put_json(&())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.out.put_json(&value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.out.put_json(&value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.out.put_json(&value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.out.put_json(&value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        // Within another value it keeps its quotes and escapes.
        if self.within {
            return self.out.put_json(value);
        }
        self.out.put(value.as_bytes());
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.out.put(b"[");
        let mut before = "";
        while seq.next_element_seed(After(before, &mut *self.out))?.is_some() {
            before = ",";
        }
        self.out.put(b"]");
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.out.put(b"{");
        let mut before = "";
        while map.next_key_seed(After(before, &mut *self.out))?.is_some() {
            map.next_value_seed(After(":", &mut *self.out))?;
            before = ",";
        }
        self.out.put(b"}");
        Ok(())
    }
}

/// Writes a value inside another one, after a separator.
struct After<'a>(&'static str, &'a mut Bounded);

impl<'de> DeserializeSeed<'de> for After<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.1.put(self.0.as_bytes());
        deserializer.deserialize_any(Json { out: self.1, within: true })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn parse(text: &str) -> Result<Line, String> {
        Line::parse(text, 32, 3).map_err(|error| error.to_string())
    }

    /// The text of the data; `None` if it is too long.
    #[track_caller]
    fn data(value: &str) -> Option<String> {
        match parse(&format!("{{\"topic\":\"a\",\"data\":{value}}}")).unwrap().data {
            Data::Text(text) => Some(text),
            Data::TooLong => None,
        }
    }

    #[track_caller]
    fn check(value: &str, expected: &str) {
        assert_eq!(data(value).as_deref(), Some(expected), "{value}");
    }

    #[test]
    fn a_text_is_taken_as_it_is_and_any_other_value_as_compact_json() {
        check("\"a\\n\\\"b\\\"\"", "a\n\"b\"");
        check("\"\"", "");
        check(" [ 1 , \"a\\u0062\" , [ ] , { } , null , true ] ", "[1,\"ab\",[],{},null,true]");
        check(
            "{ \"b\" : { \"c\" : [ -1.50 ] } , \"a\" : 1e2 }",
            "{\"b\":{\"c\":[-1.5]},\"a\":100.0}",
        );
        check("18446744073709551615", "18446744073709551615");
        check("null", "null");
    }

    #[test]
    fn any_value_is_written_as_its_tree_would_be() {
        for value in [
            "1",
            "-7",
            "0.1",
            "1e300",
            "123456789012345678901",
            "false",
            "[[[\"\\u001f\\u2028\"]]]",
            "{\"\":{}}",
        ] {
            check(value, &value.parse::<Value>().unwrap().to_string());
        }
    }

    #[test]
    fn data_beyond_the_limit_is_reported_and_read_to_its_end() {
        assert!(data(&format!("\"{}\"", "x".repeat(32))).is_some());
        assert!(data(&format!("\"{}\"", "x".repeat(33))).is_none());
        assert!(data(&format!("[{}1]", "1,".repeat(14))).is_some());
        assert!(data(&format!("[{}1]", "1, ".repeat(40))).is_none());
        assert!(
            parse("{\"topic\":\"a\",\"data\":[1111111111,1111111111,1111111111,1111111111")
                .is_err()
        );
    }

    #[test]
    fn what_is_no_line_is_refused_with_its_reason() {
        for (text, reason) in [
            ("[]", "an object with `data`"),
            ("{\"topic\":\"a\"}", "missing field `data`"),
            ("{\"data\":1,\"type\":\"a\",\"event\":\"a\"}", "duplicate field `event`"),
            ("{\"topic\":\"a\",\"data\":1,\"typo\":1}", "unknown field `typo`"),
            ("{\"topic\":\"a\",\"topic\":\"a\",\"data\":1}", "duplicate field `topic`"),
            ("{\"topic\":1,\"data\":1}", "expected a string"),
            ("{\"topic\":\"a\",\"data\":1} x", "trailing characters"),
            ("{\"topic\":\"a\",\"data\":\"\\ud800\"}", "hex escape"),
            (&format!("{{\"topic\":\"a\",\"data\":{}", "[".repeat(200)), "recursion limit"),
        ] {
            let refused = parse(text).err().unwrap_or_default();
            assert!(refused.contains(reason), "{text}: {refused}");
        }
    }

    #[test]
    fn an_event_has_so_many_topics() {
        let alternates = |topics: &str| {
            let line = parse(&format!("{{\"topic\":\"a\",\"alternates\":[{topics}],\"data\":1}}"));
            match line.unwrap().alternates {
                Some(Alternates::Topics(topics)) => Some(topics.len()),
                Some(Alternates::TooMany) | None => None,
            }
        };
        assert_eq!([alternates(""), alternates("\"b\",\"c\"")], [Some(0), Some(2)]);
        assert_eq!(alternates("\"b\",\"c\",\"d\""), None);
    }
}
