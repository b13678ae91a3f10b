//! Parses the query of a request: known names only, UTF-8, and no value twice where one is
//! meant.

use std::str::FromStr;

use percent_encoding::percent_decode_str;

use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;

/// The decoded pairs of a query.
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Parses a query that may have only the `known` names. A misspelt name would otherwise be
    /// ignored silently.
    pub(crate) fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let parts = query.unwrap_or_default().split('&').filter(|part| !part.is_empty());
        let pairs = parts.map(|part| pair(part, known)).collect::<Result<_, _>>()?;
        Ok(Self { pairs })
    }

    /// Whether the query has no pairs.
    pub(crate) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// All values of a name that may be repeated.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
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

fn pair(part: &str, known: &[&str]) -> Result<(String, String), Problem> {
    let (name, value) = part.split_once('=').unwrap_or((part, ""));
    let name = percent_decode(&name.replace('+', " "))?;
    if !known.contains(&name.as_str()) {
        let known = known.join("`, `");
        return Err(bad(format!("unknown parameter: the parameters here are `{known}`")));
    }
    Ok((name, percent_decode(&value.replace('+', " "))?))
}

fn bad(detail: String) -> Problem {
    Problem::of(ProblemKind::BadParameter, detail)
}
