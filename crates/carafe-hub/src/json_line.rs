//! JSON in one line, for the data of events.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{CompactFormatter, Formatter};

/// The value as JSON without any character that could be read as a line break.
///
/// Event streams and JSON break lines only at CR and LF, which JSON escapes. But widespread clients
/// also split at U+0085, U+2028 and U+2029, as their language's functions for lines do.
pub(crate) fn json_line(value: &impl Serialize) -> String {
    let mut json = Vec::with_capacity(128);
    let mut serializer = Serializer::with_formatter(&mut json, OneLine(CompactFormatter));
    value.serialize(&mut serializer).expect("an object of strings is always JSON");
    String::from_utf8(json).expect("JSON is UTF-8")
}

struct OneLine(CompactFormatter);

impl Formatter for OneLine {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        mut fragment: &str,
    ) -> io::Result<()> {
        while let Some(at) = fragment.find(['\u{85}', '\u{2028}', '\u{2029}']) {
            let (before, rest) = fragment.split_at(at);
            let mut chars = rest.chars();
            let code = chars.next().map_or(0, u32::from);
            self.0.write_string_fragment(writer, before)?;
            write!(writer, "\\u{code:04x}")?;
            fragment = chars.as_str();
        }
        self.0.write_string_fragment(writer, fragment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_of_the_line_is_a_line_break_for_any_client() {
        let text = "a\u{2028}\u{2029}b\r\n\u{85}\u{b}\u{c}\u{1c}\u{1e}é";
        let line = json_line(&text);
        assert_eq!(line, r#""a\u2028\u2029b\r\n\u0085\u000b\f\u001c\u001eé""#);
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
    }
}
