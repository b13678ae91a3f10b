//! The form in which `carafe subscribe --format` prints an event.

/// Text and fields, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(Field),
}

/// A part of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Topic,
    Id,
    Time,
    Type,
    Data,
}

const FIELDS: [(&str, Field); 5] = [
    ("topic", Field::Topic),
    ("id", Field::Id),
    ("time", Field::Time),
    ("type", Field::Type),
    ("data", Field::Data),
];

const EXPECTED: &str = "expected text with {topic}, {id}, {time}, {type} or {data}; \
    a brace is written twice, \\t is a tab and \\n a line break";

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some(at) = rest.find(['{', '}', '\\']) {
            pieces.push(Piece::Text(rest[..at].into()));
            let (piece, after) = special(&rest[at..]).ok_or(EXPECTED)?;
            pieces.push(piece);
            rest = after;
        }
        pieces.push(Piece::Text(rest.into()));
        Ok(Self(pieces))
    }

    pub(crate) fn fill<'a>(&self, value: impl Fn(Field) -> &'a str) -> String {
        let mut line = String::new();
        for piece in &self.0 {
            line.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Field(field) => value(*field),
            });
        }
        line
    }
}

/// What begins with `{`, `}` or a backslash, and the text behind it.
fn special(text: &str) -> Option<(Piece, &str)> {
    for (escape, meaning) in
        [("{{", "{"), ("}}", "}"), ("\\t", "\t"), ("\\n", "\n"), ("\\\\", "\\")]
    {
        if let Some(after) = text.strip_prefix(escape) {
            return Some((Piece::Text(meaning.into()), after));
        }
    }
    let (name, after) = text.strip_prefix('{')?.split_once('}')?;
    let (_, field) = FIELDS.iter().find(|(known, _)| *known == name)?;
    Some((Piece::Field(*field), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_filled_in_and_escapes_are_replaced() {
        let filled = |text| {
            Template::parse(text).unwrap().fill(|field| match field {
                Field::Topic => "orders",
                Field::Data => "{id}",
                _ => "?",
            })
        };
        for (text, expected) in [
            ("", ""),
            ("x", "x"),
            ("{topic} {data}", "orders {id}"),
            ("{{{topic}}}\\t{id}{time}{type}\\n\\\\", "{orders}\t???\n\\"),
        ] {
            assert_eq!(filled(text), expected);
        }
    }

    #[test]
    fn unknown_fields_and_lone_braces_are_refused() {
        for text in ["{", "}", "{topic", "{Topic}", "{}", "\\", "\\x"] {
            assert_eq!(Template::parse(text), Err(EXPECTED), "{text}");
        }
    }
}
