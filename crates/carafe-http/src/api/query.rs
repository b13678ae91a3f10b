//! Parses the query of a request: UTF-8, and no value twice where one is meant.
//!
//! Clients and proxies add parameters of their own, such as `_=1` or `utm_source=x`. These are
//! ignored. A name that resembles a parameter of the endpoint is an error instead: it is probably
//! misspelt, and ignoring `privat` would make an event public.

use std::str::FromStr;

use percent_encoding::percent_decode_str;
use strsim::osa_distance;

use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::api::last_event_id;

/// The decoded pairs of a query.
pub(crate) struct Query {
    pairs: Vec<(&'static str, String)>,
}

impl Query {
    /// Parses the `known` parameters of a query, and ignores others.
    ///
    /// # Errors
    /// When a name is misspelt, or a known parameter is not UTF-8.
    pub(crate) fn parse(query: Option<&str>, known: &[&'static str]) -> Result<Self, Problem> {
        let parts = query.unwrap_or_default().split('&').filter(|part| !part.is_empty());
        let pairs = parts.filter_map(|part| pair(part, known).transpose());
        Ok(Self { pairs: pairs.collect::<Result<_, _>>()? })
    }

    /// Whether the query has no pairs.
    pub(crate) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// All values of a name that may be repeated.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(key, _)| *key == name).map(|(_, value)| value.as_str())
    }

    /// The value of a name that must not be repeated.
    pub(crate) fn one<'a>(&'a self, name: &'a str) -> Result<Option<&'a str>, Problem> {
        let mut values = self.all(name);
        let first = values.next();
        if values.next().is_some() {
            return Err(bad(format!(
                "the parameter `{name}` is given more than once: give it once"
            )));
        }
        Ok(first)
    }

    /// The value as a whole number.
    pub(crate) fn number<N: FromStr>(&self, name: &'static str) -> Result<Option<N>, Problem> {
        let Some(value) = self.one(name)? else { return Ok(None) };
        // `parse` alone would accept a leading `+`.
        let number = value.parse().ok().filter(|_| value.bytes().all(|byte| byte.is_ascii_digit()));
        number
            .map(Some)
            .ok_or_else(|| bad(format!("`{name}` is not a whole number: use digits only")))
    }

    /// A switch: its name alone turns it on, `=false` turns it off.
    pub(crate) fn flag(&self, name: &'static str) -> Result<bool, Problem> {
        match self.one(name)? {
            None | Some("false" | "0") => Ok(false),
            Some("" | "true" | "1") => Ok(true),
            Some(_) => {
                Err(bad(format!("`{name}` is a switch: leave its value out, or use true or false")))
            }
        }
    }
}

/// Decodes percent-escapes to UTF-8.
pub(crate) fn percent_decode(text: &str) -> Result<String, Problem> {
    percent_decode_str(text).decode_utf8().map(Into::into).map_err(|_| bad_escapes())
}

pub(crate) fn bad_escapes() -> Problem {
    let detail = "the percent-escapes do not decode to UTF-8: encode the text as UTF-8 first";
    Problem::of(ProblemKind::BadUtf8, detail)
}

/// One `name=value`; `None` if it is to be ignored.
fn pair(part: &str, known: &[&'static str]) -> Result<Option<(&'static str, String)>, Problem> {
    let (name, value) = part.split_once('=').unwrap_or((part, ""));
    // A name that is not UTF-8 is none of ours.
    let Ok(name) = percent_decode(&name.replace('+', " ")) else { return Ok(None) };
    match find(&name, known)? {
        Some(name) => Ok(Some((name, percent_decode(&value.replace('+', " "))?))),
        None => Ok(None),
    }
}

/// The known parameter with this name.
fn find(name: &str, known: &[&'static str]) -> Result<Option<&'static str>, Problem> {
    let letters = letters(name);
    let is_it = |it: &&&str| {
        **it == name || (**it == last_event_id::PARAMETER && last_event_id::is_parameter(name))
    };
    if let Some(it) = known.iter().find(is_it) {
        return Ok(Some(it));
    }
    if letters == "accesstoken" {
        // Where it is accepted, it has been taken out of the query before.
        return Err(bad(format!(
            "`{name}` is not accepted in the query: send the token as `Authorization: Bearer` or \
             in a cookie, or let the hub accept it in queries"
        )));
    }
    match known.iter().find(|it| resembles(&letters, it)) {
        Some(it) => Err(bad(format!("unknown parameter `{name}`: did you mean `{it}`?"))),
        None => Ok(None),
    }
}

/// Whether letters are those of a known parameter, up to a slip: one, or two in a long name.
fn resembles(text: &str, known: &str) -> bool {
    let known = letters(known);
    let slips = match known.len() {
        0..=2 => 0,
        3..=7 => 1,
        _ => 2,
    };
    // The length is compared first: the distance takes time that grows with both.
    text.len().abs_diff(known.len()) <= slips && osa_distance(text, &known) <= slips
}

/// The letters and digits of a name, in lower case.
fn letters(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

fn bad(detail: String) -> Problem {
    Problem::of(ProblemKind::BadParameter, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] =
        &["topic", "pattern", last_event_id::PARAMETER, "earliest", "last", "id"];

    fn parse(query: &str) -> Result<Vec<(&'static str, String)>, String> {
        let query = Query::parse(Some(query), KNOWN).map_err(|error| error.detail().to_owned())?;
        Ok(query.pairs)
    }

    #[test]
    fn parameters_of_clients_and_proxies_are_ignored() {
        for query in [
            "ngsw-bypass=true",
            "_=1",
            "utm_source=x",
            "utm_id=1",
            "v=2",
            "t=1",
            "cache-bust",
            "fbclid=%ff",
            "%ff=1",
            "=",
            "&&",
            "\u{e9}=1",
        ] {
            assert_eq!(parse(query), Ok(vec![]), "{query}");
        }
        assert_eq!(parse("_=1&last=2&x"), Ok(vec![("last", "2".to_owned())]));
    }

    #[test]
    fn a_misspelt_parameter_is_an_error_that_names_the_right_one() {
        assert!(parse("access_token=x").unwrap_err().contains("not accepted in the query"));
        for (query, meant) in [
            ("topics=a", "topic"),
            ("topic[]=a", "topic"),
            ("Topic=a", "topic"),
            ("tpoic=a", "topic"),
            ("patern=a", "pattern"),
            ("earlist", "earliest"),
            ("lats=1", "last"),
            ("last_event=1", "last_event_id"),
            ("ID=1", "id"),
        ] {
            let error = parse(query).unwrap_err();
            assert!(error.ends_with(&format!("did you mean `{meant}`?")), "{query}: {error}");
        }
    }

    #[test]
    fn the_usual_spellings_of_last_event_id_are_aliases() {
        for name in
            ["last_event_id", "lastEventId", "lastEventID", "Last-Event-ID", "last-event-id"]
        {
            let query = format!("{name}=a%20b");
            assert_eq!(
                parse(&query),
                Ok(vec![(last_event_id::PARAMETER, "a b".to_owned())]),
                "{name}"
            );
        }
    }
}
