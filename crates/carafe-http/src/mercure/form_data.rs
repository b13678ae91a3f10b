//! Parameters in the format of HTML forms, from a query or a body.

use http::HeaderMap;
use percent_encoding::percent_decode_str;

use crate::answer::limit::Limit;
use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::api::body::is_of_type;
use crate::api::query::bad_escapes;

/// The most pairs of a form: a pair of two bytes takes far more memory when it is decoded.
const PAIRS: usize = 2000;

/// The decoded pairs. Mercure ignores unknown names.
pub(crate) struct FormData {
    pairs: Vec<(String, String)>,
}

impl FormData {
    /// Decodes `application/x-www-form-urlencoded`, as UTF-8.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        let pair = |part: &str| -> Result<_, Problem> {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Ok((decode(name)?, decode(value)?))
        };
        let parts = text.split('&').filter(|part| !part.is_empty());
        // One more than allowed tells too many from just enough, and decodes nothing beyond.
        let pairs = parts.take(PAIRS + 1).map(pair).collect::<Result<Vec<_>, _>>()?;
        if pairs.len() > PAIRS { Err(too_many()) } else { Ok(Self { pairs }) }
    }

    /// These pairs, and then others.
    pub(crate) fn and(mut self, others: Self) -> Result<Self, Problem> {
        self.pairs.extend(others.pairs);
        if self.pairs.len() > PAIRS { Err(too_many()) } else { Ok(self) }
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().map(|(name, _)| name.as_str())
    }

    /// All pairs, in order.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// All values of a name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs().filter(move |(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The first value of a name that is not empty.
    pub(crate) fn filled<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).find(|value| !value.is_empty())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }
}

/// Whether a body with these headers is a form.
pub(crate) fn is_form(headers: &HeaderMap) -> bool {
    is_of_type(headers, "application/x-www-form-urlencoded")
}

/// Decodes with one copy, whatever is escaped.
fn decode(text: &str) -> Result<String, Problem> {
    let mut decoded = Vec::with_capacity(text.len());
    for (at, word) in text.split('+').enumerate() {
        decoded.extend((at > 0).then_some(b' '));
        decoded.extend(percent_decode_str(word));
    }
    // Escapes decode to a third: the reservation of the body counts what is kept.
    decoded.shrink_to_fit();
    String::from_utf8(decoded).map_err(|_| bad_escapes())
}

fn too_many() -> Problem {
    let detail = format!("there are more than {PAIRS} parameters: send fewer");
    Problem::of(ProblemKind::TooManyParameters, detail).over(Limit::FormFields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded_and_may_be_repeated() {
        let form = FormData::parse("topic=a+b&x&topic=%C3%A9%26&&empty=&empty=1=2").unwrap();
        assert!(form.all("topic").eq(["a b", "é&"]));
        assert_eq!(form.filled("empty"), Some("1=2"));
        assert!(form.has("x") && !form.has("y") && form.filled("x").is_none());
    }

    #[test]
    fn what_is_not_utf_8_is_refused() {
        assert!(FormData::parse("data=%ff").is_err() && FormData::parse("%ff=").is_err());
    }

    #[test]
    fn a_form_has_so_many_pairs() {
        assert!(FormData::parse(&"a&".repeat(PAIRS)).is_ok());
        assert!(FormData::parse(&"a&".repeat(PAIRS + 1)).is_err());
    }
}
