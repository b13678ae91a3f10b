//! Matching topics with URI Templates (RFC 6570).

use std::fmt::Write;

use regex::{Regex, RegexBuilder};

/// A compiled URI Template. It matches each text that the template could expand to with any values.
///
/// Maintained crates only expand templates. This one compiles a template to a regular expression,
/// which cannot backtrack.
pub(crate) struct Template(Regex);

/// The text is not a valid template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadTemplate {
    /// The text does not follow the grammar of RFC 6570, section 2.
    Syntax,
    /// The template exceeds a limit when compiled.
    TooComplex,
}

impl Template {
    /// The maximum size of the regular expression in bytes: enough for a dozen variables. The
    /// length of a prefix, as in `{a:500}`, counts.
    const MAX_BYTES: usize = 128 * 1024;

    /// The maximum number of variables.
    const MAX_VARIABLES: usize = 32;

    /// The maximum number of variables in one expression. The cost grows with its square.
    const MAX_IN_EXPRESSION: usize = 12;

    pub(crate) fn new(text: &str) -> Result<Self, BadTemplate> {
        let pattern = compile(text)?;
        let mut builder = RegexBuilder::new(&pattern);
        // Both limits: the first bounds the compiled program, the second the cache that grows
        // during matches.
        builder.size_limit(Self::MAX_BYTES).dfa_size_limit(Self::MAX_BYTES);
        builder.build().map(Self).map_err(|_| BadTemplate::TooComplex)
    }

    pub(crate) fn matches(&self, topic: &str) -> bool {
        self.0.is_match(topic)
    }
}

/// The regular expression of a template.
fn compile(text: &str) -> Result<String, BadTemplate> {
    // Anchored at both ends: a template describes the whole topic. The group keeps alternatives
    // within the anchors.
    let mut pattern = String::from(r"\A(?:");
    let (mut rest, mut variables) = (text, 0);
    while let Some((literal, after)) = rest.split_once('{') {
        let (expression, after) = after.split_once('}').ok_or(BadTemplate::Syntax)?;
        compile_literal(literal, &mut pattern)?;
        let expression = Expression::parse(expression)?;
        let in_expression = expression.variables.len();
        variables += in_expression;
        // Checked while the text is read: the expression below grows with the square of its
        // variables.
        if variables > Template::MAX_VARIABLES || in_expression > Template::MAX_IN_EXPRESSION {
            return Err(BadTemplate::TooComplex);
        }
        expression.compile(&mut pattern);
        rest = after;
    }
    compile_literal(rest, &mut pattern)?;
    pattern.push_str(r")\z");
    Ok(pattern)
}

/// A literal matches itself. An expansion percent-escapes characters that a URI cannot have; a
/// topic may have them in either form.
fn compile_literal(text: &str, pattern: &mut String) -> Result<(), BadTemplate> {
    if text.contains(['"', '<', '>', '\\', '^', '`', '|', '}', ' '])
        || text.chars().any(char::is_control)
    {
        return Err(BadTemplate::Syntax);
    }
    check_escapes(text)?;
    for char in text.chars() {
        let literal = regex::escape(char.encode_utf8(&mut [0; 4]));
        if char.is_ascii() {
            pattern.push_str(&literal);
        } else {
            let escaped: String =
                char.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
            // Writing to a string does not fail. Expansion writes capital digits (section 2.1 of
            // RFC 3986), so only these match.
            let _ = write!(pattern, "(?:{literal}|{escaped})");
        }
    }
    Ok(())
}

/// Checks that each `%` begins a percent-escape.
fn check_escapes(text: &str) -> Result<(), BadTemplate> {
    let mut parts = text.split('%');
    // What is before the first `%` is no escape.
    parts.next();
    let is_escape =
        |part: &str| part.len() >= 2 && part.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    if parts.all(is_escape) { Ok(()) } else { Err(BadTemplate::Syntax) }
}

/// One `{…}`, see RFC 6570, section 3.2.1.
struct Expression<'a> {
    operator: &'static Operator,
    variables: Vec<Variable<'a>>,
}

/// The effect of an operator, from the table in appendix A.
struct Operator {
    /// The character of the operator.
    sign: &'static str,
    /// The text before the first defined variable.
    first: &'static str,
    /// The text between variables.
    separator: &'static str,
    /// `Some` if names are written, with the text after a name whose value is empty.
    named: Option<&'static str>,
    /// Whether values may have unescaped reserved characters.
    reserved: bool,
}

/// The last operator has no sign. It must be last, because each text starts with an empty sign.
static OPERATORS: [Operator; 8] = [
    Operator { sign: "+", first: "", separator: ",", named: None, reserved: true },
    Operator { sign: "#", first: "#", separator: ",", named: None, reserved: true },
    Operator { sign: ".", first: ".", separator: ".", named: None, reserved: false },
    Operator { sign: "/", first: "/", separator: "/", named: None, reserved: false },
    Operator { sign: ";", first: ";", separator: ";", named: Some(""), reserved: false },
    Operator { sign: "?", first: "?", separator: "&", named: Some("="), reserved: false },
    Operator { sign: "&", first: "&", separator: "&", named: Some("="), reserved: false },
    Operator { sign: "", first: "", separator: ",", named: None, reserved: false },
];

struct Variable<'a> {
    name: &'a str,
    modifier: Modifier,
}

#[derive(Clone, Copy)]
enum Modifier {
    None,
    /// The maximum number of characters of the value.
    Prefix(usize),
    /// Each member of a list or map is expanded by itself.
    Explode,
}

impl<'a> Expression<'a> {
    fn parse(text: &'a str) -> Result<Self, BadTemplate> {
        // A reserved operator such as `=` or `!` falls to the last row, and is rejected as part of
        // a name.
        let operator = OPERATORS.iter().find(|operator| text.starts_with(operator.sign));
        let operator = operator.ok_or(BadTemplate::Syntax)?;
        let variables = text[operator.sign.len()..].split(',').map(Variable::parse);
        Ok(Self { operator, variables: variables.collect::<Result<_, _>>()? })
    }

    /// Each variable may be undefined and then expands to nothing. If all are undefined, the whole
    /// expression expands to nothing.
    fn compile(&self, pattern: &mut String) {
        let Operator { first, separator, .. } = self.operator;
        let variables: Vec<_> =
            self.variables.iter().map(|variable| variable.pattern(self.operator)).collect();
        let separator = regex::escape(separator);
        let optional = |variable: &String| format!("(?:{separator}{variable})?");
        // `first` and the separator are the same text, so each variable brings its own and any may
        // be left out.
        if regex::escape(first) == separator {
            pattern.extend(variables.iter().map(optional));
            return;
        }
        // Otherwise the first variable that is defined follows `first`, and each further one a
        // separator: one alternative for each variable that may be the first. This is where the
        // size is quadratic.
        let beginning_with = |at: usize| {
            let further: String = variables[at + 1..].iter().map(optional).collect();
            format!("{}{further}", variables[at])
        };
        let alternatives: Vec<_> = (0..variables.len()).map(beginning_with).collect();
        let _ = write!(pattern, "(?:{}(?:{}))?", regex::escape(first), alternatives.join("|"));
    }
}

impl<'a> Variable<'a> {
    fn parse(text: &'a str) -> Result<Self, BadTemplate> {
        let (name, modifier) = if let Some(name) = text.strip_suffix('*') {
            (name, Modifier::Explode)
        } else if let Some((name, length)) = text.split_once(':') {
            (name, Modifier::Prefix(prefix(length)?))
        } else {
            (text, Modifier::None)
        };
        check_escapes(name)?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'%');
        let is_name = name.split('.').all(|part| !part.is_empty() && part.bytes().all(allowed));
        if is_name { Ok(Self { name, modifier }) } else { Err(BadTemplate::Syntax) }
    }

    /// The regular expression of the variable if it is defined.
    fn pattern(&self, operator: &Operator) -> String {
        let one = character(operator.reserved, "");
        match (self.modifier, operator.named) {
            (Modifier::None, None) => format!("{}*", character(operator.reserved, ",")),
            (Modifier::Prefix(length), None) => at_most(length, 0, operator.reserved),
            (Modifier::Explode, None) => {
                let separator = regex::escape(operator.separator);
                format!(
                    "(?:{one}*(?:{separator}{one}*)*|{one}*={one}*(?:{separator}{one}*={one}*)*)"
                )
            }
            (Modifier::None, Some(if_empty)) => {
                self.named(&format!("={}+", character(false, ",")), if_empty)
            }
            (Modifier::Prefix(length), Some(if_empty)) => {
                self.named(&format!("={}", at_most(length, 1, false)), if_empty)
            }
            (Modifier::Explode, Some(if_empty)) => {
                // The members of a list have the name of the variable, those of a map any name.
                let pair = format!("{}*(?:={one}+|{if_empty})", character(true, ""));
                format!("(?:{pair}(?:{}{pair})*)", regex::escape(operator.separator))
            }
        }
    }

    /// The name and a value that may be empty.
    fn named(&self, value: &str, if_empty: &str) -> String {
        format!("{}(?:{value}|{if_empty})", regex::escape(self.name))
    }
}

/// Parses the length of a prefix, 1 to 9999.
fn prefix(text: &str) -> Result<usize, BadTemplate> {
    // RFC 6570, 2.4.1: at most 9999, without leading zeros. `parse` alone would accept a sign.
    let is_number = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let length = text.parse().ok().filter(|_| is_number && !text.starts_with('0'));
    length.ok_or(BadTemplate::Syntax)
}

const ESCAPE: &str = "%[0-9A-Fa-f]{2}";

/// One character of an expanded value, or one of `further`.
fn character(reserved: bool, further: &str) -> String {
    let reserved = if reserved { r":/?#\[\]@!$&'()*+,;=" } else { "" };
    format!("(?:[-A-Za-z0-9._~{reserved}{further}]|{ESCAPE})")
}

/// From `least` to `length` characters. One character may take several percent-escapes.
fn at_most(length: usize, least: usize, reserved: bool) -> String {
    let escaped = "%[0-7][0-9A-Fa-f]|%[CDcd][0-9A-Fa-f]%[89ABab][0-9A-Fa-f]\
        |%[Ee][0-9A-Fa-f](?:%[89ABab][0-9A-Fa-f]){2}|%[Ff][0-7](?:%[89ABab][0-9A-Fa-f]){3}";
    let reserved = if reserved { r":/?#\[\]@!$&'()*+,;=" } else { "" };
    // With reserved characters, an expansion keeps the percent-escapes of the value, even invalid
    // UTF-8.
    let any = if reserved.is_empty() { String::new() } else { format!("|{ESCAPE}") };
    let one = format!("(?:[-A-Za-z0-9._~{reserved}]|{escaped}{any})");
    // No topic is longer, so the regular expression need not count.
    if length >= crate::Topic::MAX_BYTES {
        format!("{one}{{{least},}}")
    } else {
        format!("{one}{{{least},{length}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each of `topics` matches; one written with `!` before it does not.
    #[track_caller]
    fn check(template: &str, topics: &[&str]) {
        let compiled = Template::new(template).unwrap();
        for topic in topics {
            let refused = topic.strip_prefix('!');
            let matched = compiled.matches(refused.unwrap_or(topic));
            assert_eq!(matched, refused.is_none(), "{template} against {topic}");
        }
    }

    #[track_caller]
    fn check_refused(expected: BadTemplate, templates: &[&str]) {
        for template in templates {
            assert_eq!(Template::new(template).map(drop), Err(expected), "{template:?}");
        }
    }

    #[test]
    fn a_literal_matches_itself_alone() {
        check(
            "https://example.com/books/1",
            &["https://example.com/books/1", "!https://example_com/books/1"],
        );
        check(
            "https://example.com/books/1",
            &["!https://example.com/books/12", "!xhttps://example.com/books/1"],
        );
        check("a.b*c+d?(e)[f]$", &["a.b*c+d?(e)[f]$", "!a.bbbc"]);
        check("caf\u{e9}/{x}", &["caf\u{e9}/1", "caf%C3%A9/1", "!cafe/1"]);
        check("50%25", &["50%25", "!50%"]);
    }

    #[test]
    fn a_value_has_no_reserved_characters() {
        check("/books/{id}", &["/books/42", "/books/a.b-c_d~e", "/books/caf%C3%A9", "/books/"]);
        check(
            "/books/{id}",
            &["!/books/4/2", "!/books/a?b", "!/books", "!/books/a b", "!/books/%4"],
        );
        check("/books/{id}/x", &["/books/1/x", "!/books/1/2/x", "!/books/1/"]);
        check("{a}-{b}", &["1-2", "-", "!1", "!1/2"]);
    }

    #[test]
    fn reserved_expansion_keeps_reserved_characters() {
        check("/files/{+path}", &["/files/a/b?c#d", "/files/", "!/files/a b", "!/files/\u{e9}"]);
        check("{#x}", &["#a/b", "#", "", "!a"]);
    }

    #[test]
    fn variables_may_be_undefined_each() {
        check("/a{?x,y}", &["/a", "/a?x=1", "/a?y=2", "/a?x=1&y=2", "/a?x="]);
        check("/a{?x,y}", &["!/a?", "!/a?y=2&x=1", "!/a?z=1", "!/a?x=1&", "!/a?x", "!/a?x=1&x=2"]);
        check("/a?b{&x,y}", &["/a?b", "/a?b&x=1", "/a?b&y=2", "!/a?b?x=1"]);
        check("/a{;x,y}", &["/a", "/a;x;y=2", "/a;y", "!/a;x=", "!/a;y;x"]);
        check("/a{/x,y}", &["/a", "/a/1", "/a/1/2", "/a/", "!/a/1/2/3"]);
        check("a{.x,y}", &["a", "a.b", "a.b.c", "a.", "!a/b"]);
    }

    #[test]
    fn lists_and_pairs_are_joined_by_commas_or_exploded() {
        check("{x}", &["a,b,c", "semi,%3B"]);
        check("{x*}", &["a,b,c", "k=v,l=w", "!k=v=w", "!a,k=v"]);
        check("{/x*}", &["/a/b/c", "/k=v/l=w", ""]);
        check("{.x*}", &[".a.b", ".k=v.l=w"]);
        check("{?x*}", &["?x=a&x=b", "?k=v&l=w", "?k=", "!?k"]);
        check("{;x*}", &[";x=a;x=b", ";k;l=w"]);
        check("{?x}", &["?x=a,b", "?x=k,v", "!?x=a&x=b"]);
    }

    #[test]
    fn a_prefix_is_counted_in_characters_of_the_value() {
        check("{x:3}", &["abc", "ab", "", "%C3%A9%E2%82%AC%F0%9F%8D%B5", "%2F%2F%2F"]);
        check("{x:3}", &["!abcd", "!%2F%2F%2F%2F", "!a,b", "!%C3"]);
        check("{+x:6}", &["/foo/b", "%C3", "!/foo/ba"]);
        check("{?x:2}", &["?x=ab", "?x=", "!?x=abc"]);
        check("{;x:2}", &[";x=ab", ";x", "!;x="]);
        check("{x:9999}", &[&"a".repeat(1024)]);
    }

    #[test]
    fn what_is_no_template_is_refused() {
        check_refused(
            BadTemplate::Syntax,
            &["{", "}", "{}", "{a", "a}", "{{a}}", "{a,}", "{,a}", "{ a}", "{a b}"],
        );
        check_refused(
            BadTemplate::Syntax,
            &["{=a}", "{,a}", "{!a}", "{@a}", "{|a}", "{$a}", "{a-b}", "{a..b}", "{.}"],
        );
        check_refused(
            BadTemplate::Syntax,
            &["{a:}", "{a:0}", "{a:01}", "{a:10000}", "{a:+1}", "{a:x}", "{a*:1}", "{a:1*}"],
        );
        check_refused(
            BadTemplate::Syntax,
            &["a b{x}", "%{x}", "%4{x}", "%zz", "<{x}>", "\\{x}", "{%4}", "{a%zz}"],
        );
        for template in ["{a.b}", "{a_1}", "{%41}", "{1}", "it's{x}"] {
            assert!(Template::new(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn what_a_template_may_cost_is_bounded() {
        let many = format!("{{{}}}", ["a"; 13].join(","));
        check_refused(BadTemplate::TooComplex, &[&many, &"{a}".repeat(33), &"{a:999}".repeat(8)]);
        assert!(Template::new(&format!("{{?{}}}", ["a"; 12].join(","))).is_ok());
    }
}
