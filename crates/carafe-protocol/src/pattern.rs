//! Patterns over topics. Simple patterns are matched as text; others are compiled.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::{FromStr, Split};
use std::sync::{Arc, LazyLock, OnceLock};

use regex::{Regex, RegexBuilder};
use url::Url;
use urlpattern::matcher::{InnerMatcher, Matcher};
use urlpattern::regexp::RegExp;
use urlpattern::{Error, RegexSyntax, UrlPattern, UrlPatternInit, UrlPatternOptions};

use crate::template::{BadTemplate, Template};
use crate::topic::BYTE_ORDER_MARK;

/// A [WHATWG URL Pattern](https://urlpattern.spec.whatwg.org/) over topics.
///
/// | pattern | matches |
/// | --- | --- |
/// | `orders/:id` | `orders/42`: a `:name` is exactly one segment that is not empty |
/// | `orders/*` | `orders/42`, `orders/42/items`, `orders/`: a `*` is one or more segments, also empty |
/// | `users/a\:b` | `users/a:b`: a backslash makes the next character a literal |
/// | `orders/(\d+)`, `shop-:id`, `a{/:b}?` | as in the standard |
/// | `https://example.com/books/:id` | topics that are such URLs |
/// | `*` | every topic |
///
/// A leading slash is not significant, neither in patterns nor in topics. A topic that begins with
/// a scheme and `://` is an absolute URL. Any other topic is a path, including each `?` and `#`,
/// and is resolved against `https://topic.invalid/` like a relative pattern. So absolute URLs are
/// matched by `*` alone and by absolute patterns, but not by other relative patterns.
///
/// In a **simple pattern**, each segment is a literal, a `:name` or a `*`. Simple patterns are
/// matched as text, in time bounded by the product of the numbers of segments. All others are
/// compiled by the crate `urlpattern`, which matches the topic as a URL. The two differ as follows:
/// for a simple pattern, `a b`, `a%20b` and `a\b` are three topics. For others, a character and its
/// percent-escape are equal, and a literal backslash matches no backslash, since URLs treat it as a
/// slash. A regular expression is matched against the percent-escaped path and cannot backtrack.
///
/// Other protocols use two more kinds, which are never simple: URI Templates
/// ([`template`](Self::template)) and URL Patterns over URLs only
/// ([`relative_to`](Self::relative_to)).
///
/// ```
/// use carafe_protocol::TopicPattern;
///
/// let pattern = TopicPattern::new("orders/:id/items/*")?;
/// assert!(pattern.matches("orders/42/items/1"));
/// assert!(!pattern.matches("orders/42"));
/// # Ok::<(), carafe_protocol::BadPattern>(())
/// ```
#[derive(Clone)]
pub struct TopicPattern(Arc<Parsed>);

struct Parsed {
    text: Box<str>,
    kind: Kind,
}

enum Kind {
    /// Parsed from its text at each match, so that a million simple patterns take little memory.
    Simple,
    Url(Box<UrlMatcher>),
    /// Matches topics as URLs. Relative topics are resolved against the base.
    Relative(Box<(UrlMatcher, Url)>),
    Template(Box<Template>),
}

/// One segment of a simple pattern.
///
/// ```
/// use carafe_protocol::{PatternSegment, TopicPattern};
///
/// let pattern = TopicPattern::new("orders/:id")?;
/// let segments: Vec<_> = pattern.segments().unwrap().collect();
/// assert_eq!(segments, [PatternSegment::Literal("orders".into()), PatternSegment::Name]);
/// # Ok::<(), carafe_protocol::BadPattern>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatternSegment<'a> {
    /// Matches exactly this segment.
    Literal(Cow<'a, str>),
    /// A `:name`. Matches one segment that is not empty.
    Name,
    /// A `*`. Matches one or more segments, which may be empty.
    Any,
}

/// The text is not a valid pattern.
///
/// ```
/// use carafe_protocol::{BadPattern, TopicPattern};
///
/// assert_eq!(TopicPattern::new(":a/:a"), Err(BadPattern::DuplicateName));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadPattern {
    /// The text is empty.
    #[error("the pattern is empty: write `*` for all topics")]
    Empty,
    /// The text is longer than [`TopicPattern::MAX_BYTES`], or, for
    /// [`TopicPattern::relative_to`], than [`TopicPattern::MAX_RELATIVE_BYTES`].
    #[error("the pattern has {0} bytes, more than are allowed: use a shorter one")]
    TooLong(usize),
    /// The text has a control character, such as a line break.
    #[error("the pattern has a control character: use printable text")]
    ControlCharacter,
    /// The text has a byte order mark, U+FEFF, which no topic has.
    #[error(
        "the pattern has a byte order mark, U+FEFF, which is invisible: save the text as UTF-8 \
         without it"
    )]
    ByteOrderMark,
    /// The pattern has the same `:name` twice.
    #[error("the pattern has two parts of the same name: name each `:name` differently")]
    DuplicateName,
    /// The pattern is not simple and has more than [`TopicPattern::MAX_OPERATORS`] operators.
    #[error(
        "the pattern has more than {max} of the characters `: * + ? ( {{ [ | \\`: use fewer, or \
         only `:name` and `*` between slashes",
        max = TopicPattern::MAX_OPERATORS
    )]
    TooComplex,
    /// The pattern is absolute and has square brackets outside the path, or a scheme or host that
    /// is not plain text.
    #[error(
        "the pattern has a square bracket near a scheme or host: use brackets only in the path, \
         and neither groups nor backslashes before the path"
    )]
    Brackets,
    /// The pattern has a regular expression that is invalid or too large when compiled.
    #[error(
        "the pattern has a regular expression that is invalid or too large: correct or shorten the \
         text in parentheses"
    )]
    RegularExpression,
    /// The pattern has a literal scheme, host or port that no URL can have.
    #[error(
        "the pattern has a scheme, host or port that no URL can have: correct it, or use a path"
    )]
    NotUrl,
    /// The pattern does not follow the grammar of URL Patterns.
    #[error(
        "the pattern is not a URL Pattern: close each group, and put a backslash before each \
         literal `: * + ? {{ }} ( )`"
    )]
    Syntax,
    /// The text does not follow the grammar of URI Templates.
    #[error(
        "the URI Template is invalid: use variables as in RFC 6570, such as `{{id}}`, and \
         percent-escape characters that no URI can have"
    )]
    Template,
    /// The URI Template has too many variables, or their prefixes are too long.
    #[error(
        "the URI Template is too complex: use fewer variables or shorter prefixes than `{{id:50}}`"
    )]
    TemplateTooComplex,
}

impl TopicPattern {
    /// The maximum length of a pattern in bytes.
    pub const MAX_BYTES: usize = 1024;

    /// The maximum length of a pattern of [`relative_to`](Self::relative_to) in bytes.
    pub const MAX_RELATIVE_BYTES: usize = 4096;

    /// The maximum number of operators of a pattern that is not simple. Each operator takes time at
    /// each match.
    pub const MAX_OPERATORS: usize = 32;

    /// Parses a pattern.
    ///
    /// # Errors
    /// When the text is empty, too long, too complex, has a control character or a byte order mark,
    /// or is not a URL Pattern.
    pub fn new(text: &str) -> Result<Self, BadPattern> {
        check_text(text, Self::MAX_BYTES)?;
        let kind = if is_simple(text) {
            check_names(text)?;
            Kind::Simple
        } else {
            Kind::Url(Box::new(UrlMatcher::new(text)?))
        };
        Ok(Self::of(text, kind))
    }

    /// Whether the pattern `text` has to be compiled, which takes up to some milliseconds. Simple
    /// patterns are not compiled.
    #[must_use]
    pub fn is_compiled(text: &str) -> bool {
        !is_simple(text)
    }

    /// Parses a [URI Template](https://www.rfc-editor.org/rfc/rfc6570). It matches its own text and
    /// each text that it can expand to, with values that may be undefined. `books/{id}` matches
    /// `books/42` and `books/`, but not `books/4/2`.
    ///
    /// # Errors
    /// When the text is empty, too long, too complex, has a control character or a byte order mark,
    /// or is not a URI Template.
    pub fn template(text: &str) -> Result<Self, BadPattern> {
        check_text(text, Self::MAX_BYTES)?;
        Ok(Self::of(text, Kind::Template(Box::new(Template::new(text)?))))
    }

    /// Parses a URL Pattern over URLs. The pattern and the topics may be relative to `base`. `*`
    /// alone matches every topic. Patterns that are compared with each other must have the same
    /// base, because equality ignores it.
    ///
    /// # Errors
    /// When the text is empty, longer than [`MAX_RELATIVE_BYTES`](Self::MAX_RELATIVE_BYTES), too
    /// complex, has a control character or a byte order mark, or is not a URL Pattern.
    pub fn relative_to(text: &str, base: &Url) -> Result<Self, BadPattern> {
        check_text(text, Self::MAX_RELATIVE_BYTES)?;
        // `*` as a URL Pattern would not match topics that are no URL, such as `a://[`.
        if text == "*" {
            return Ok(Self::any());
        }
        let matcher = UrlMatcher::relative_to(text, base)?;
        Ok(Self::of(text, Kind::Relative(Box::new((matcher, base.clone())))))
    }

    fn of(text: &str, kind: Kind) -> Self {
        Self(Arc::new(Parsed { text: text.into(), kind }))
    }

    /// The pattern `*`, which matches every topic.
    #[must_use]
    pub fn any() -> Self {
        Self::of("*", Kind::Simple)
    }

    /// Whether this is [`any`](Self::any).
    #[must_use]
    pub fn is_any(&self) -> bool {
        matches!(self.0.kind, Kind::Simple) && self.as_str() == "*"
    }

    /// The text of the pattern.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// Whether the text of a [`Topic`](crate::Topic) matches.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        match &self.0.kind {
            Kind::Simple => match Self::topic_segments(topic) {
                Some(segments) => match_segments(&self.0.text, segments),
                // An absolute URL. `/*` is the same pattern as `*`.
                None => split(&self.0.text).eq(["*"]),
            },
            Kind::Url(matcher) => resolve(topic).is_some_and(|url| matcher.matches(&url)),
            Kind::Relative(relative) => {
                relative.1.join(topic).is_ok_and(|url| relative.0.matches(&url))
            }
            // Mercure: a selector matches the topic with its own text, too.
            Kind::Template(template) => topic == self.as_str() || template.matches(topic),
        }
    }

    /// The segments of a simple pattern, or `None` if the pattern is not simple.
    ///
    /// Together with [`topic_segments`](Self::topic_segments), this is enough to build an index of
    /// many patterns.
    #[must_use]
    pub fn segments(&self) -> Option<impl Iterator<Item = PatternSegment<'_>>> {
        // Each segment of a simple pattern parses: that is how `is_simple` is defined.
        let segments = split(&self.0.text).filter_map(PatternSegment::parse);
        matches!(self.0.kind, Kind::Simple).then_some(segments)
    }

    /// The segments of a topic as simple patterns match them, at least one. `None` for an absolute
    /// URL, which only the simple pattern `*` matches.
    #[must_use]
    pub fn topic_segments(topic: &str) -> Option<Split<'_, char>> {
        (!is_absolute_url(topic)).then(|| split(topic))
    }
}

impl<'a> PatternSegment<'a> {
    /// `None` if the segment needs the grammar of URL Patterns.
    fn parse(text: &'a str) -> Option<Self> {
        match text.strip_prefix(':') {
            Some(name) => is_name(name).then_some(Self::Name),
            None if text == "*" => Some(Self::Any),
            None => unescape(text).map(Self::Literal),
        }
    }

    fn matches(&self, segment: &str) -> bool {
        match self {
            Self::Literal(text) => text == segment,
            Self::Name => !segment.is_empty(),
            Self::Any => true,
        }
    }
}

fn check_text(text: &str, limit: usize) -> Result<(), BadPattern> {
    if text.is_empty() {
        return Err(BadPattern::Empty);
    }
    if text.len() > limit {
        return Err(BadPattern::TooLong(text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err(BadPattern::ControlCharacter);
    }
    if text.contains(BYTE_ORDER_MARK) {
        return Err(BadPattern::ByteOrderMark);
    }
    Ok(())
}

fn split(text: &str) -> Split<'_, char> {
    text.strip_prefix('/').unwrap_or(text).split('/')
}

fn is_simple(text: &str) -> bool {
    split(text).all(|segment| PatternSegment::parse(segment).is_some())
}

fn check_names(text: &str) -> Result<(), BadPattern> {
    let mut names: Vec<_> = split(text).filter(|s| s.starts_with(':')).collect();
    names.sort_unstable();
    // Sorted, so equal names are neighbours.
    match names.windows(2).any(|pair| pair[0] == pair[1]) {
        true => Err(BadPattern::DuplicateName),
        false => Ok(()),
    }
}

/// The standard allows more letters in names. Patterns with such names are valid, but not simple.
fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$');
    text.bytes().all(allowed) && !text.starts_with(|c: char| c.is_ascii_digit()) && !text.is_empty()
}

/// The literal text without escapes. `None` if it has an operator or ends within an escape.
fn unescape(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains([':', '*', '+', '?', '{', '}', '(', ')', '\\']) {
        return Some(text.into());
    }
    let mut literal = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => literal.push(chars.next()?),
            ':' | '*' | '+' | '?' | '{' | '}' | '(' | ')' => return None,
            _ => literal.push(char),
        }
    }
    Some(literal.into())
}

/// Backtracks to the latest `*` only. The segments between two `*` match at their first possible
/// place or at none that is better, so the work is bounded by the product of the numbers of
/// segments.
fn match_segments(pattern: &str, mut topic: Split<'_, char>) -> bool {
    let mut pattern = split(pattern);
    let mut latest_any = None;
    while let Some(segment) = topic.next() {
        // A simple pattern always parses, so `None` means that the pattern is at its end.
        let wanted = pattern.next().and_then(PatternSegment::parse);
        if wanted == Some(PatternSegment::Any) {
            // `*` has taken one segment. If the rest fails, it takes one more, from here on.
            latest_any = Some((pattern.clone(), topic.clone()));
        } else if !wanted.is_some_and(|wanted| wanted.matches(segment)) {
            let Some((after_any, rest)) = &mut latest_any else {
                return false;
            };
            // The topic has no segment left that `*` could take.
            if rest.next().is_none() {
                return false;
            }
            (pattern, topic) = (after_any.clone(), rest.clone());
        }
    }
    // The topic is at its end. A `*` that is left would need a segment.
    pattern.next().is_none()
}

/// Whether the topic begins with a scheme and `://`. The slashes are required here: in the URL
/// standard, `user:42` is a URL, too.
fn is_absolute_url(topic: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    topic.split_once("://").is_some_and(|(scheme, _)| {
        // RFC 3986, 3.1: a letter, then letters, digits, `+`, `-` and `.`.
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.bytes().all(allowed)
    })
}

static BASE: LazyLock<Url> =
    LazyLock::new(|| Url::parse("https://topic.invalid/").expect("this constant is a URL"));

/// The topic as a URL, for compiled patterns.
fn resolve(topic: &str) -> Option<Url> {
    if is_absolute_url(topic) {
        return Url::parse(topic).ok();
    }
    // A topic with `?` or `#` is a path as a whole: `set_path` escapes both.
    let path = topic.strip_prefix('/').unwrap_or(topic);
    let mut url = BASE.clone();
    // The URL parser turns a backslash into a slash, which would match another topic.
    url.set_path(&format!("/{}", path.replace('\\', "%5C")));
    Some(url)
}

/// A compiled URL Pattern. It keeps only the matchers of the components: the whole pattern of the
/// crate takes 75 KB.
struct UrlMatcher([Matcher<BoundedRegex>; 8]);

impl UrlMatcher {
    fn new(text: &str) -> Result<Self, BadPattern> {
        check_cost(text)?;
        Self::of(parse_url_pattern(text)?)
    }

    fn relative_to(text: &str, base: &Url) -> Result<Self, BadPattern> {
        check_cost(text)?;
        match text.split_once("://") {
            Some((scheme, rest)) => check_brackets(scheme, rest)?,
            None => check_brackets_without_scheme(text)?,
        }
        // A pattern with a scheme is absolute, even if its path is opaque.
        let init = match UrlPatternInit::parse_constructor_string::<BoundedRegex>(text, None) {
            Err(Error::BaseUrlRequired) => {
                UrlPatternInit::parse_constructor_string::<BoundedRegex>(text, Some(base.clone()))
            }
            init => init,
        }?;
        Self::of(UrlPattern::parse(init, UrlPatternOptions::default())?)
    }

    fn of(pattern: UrlPattern<BoundedRegex>) -> Result<Self, BadPattern> {
        let matchers = [
            pattern.protocol.matcher,
            pattern.username.matcher,
            pattern.password.matcher,
            pattern.hostname.matcher,
            pattern.port.matcher,
            pattern.pathname.matcher,
            pattern.search.matcher,
            pattern.hash.matcher,
        ];
        // Now, not at the first match: a wrong expression is an error of the request, and the time
        // is spent where the caller expects it.
        matchers.iter().try_for_each(compile)?;
        Ok(Self(matchers))
    }

    fn matches(&self, url: &Url) -> bool {
        let components = [
            url.scheme(),
            url.username(),
            url.password().unwrap_or_default(),
            url.host_str().unwrap_or_default(),
            // Empty for the default port of the scheme, as the standard matches it.
            url::quirks::port(url),
            url.path(),
            url.query().unwrap_or_default(),
            url.fragment().unwrap_or_default(),
        ];
        let mut pairs = self.0.iter().zip(components);
        pairs.all(|(matcher, component)| matcher.matches(component).is_some())
    }
}

/// Compiles the regular expression of a component, if it has one.
fn compile(matcher: &Matcher<BoundedRegex>) -> Result<(), BadPattern> {
    match &matcher.inner {
        InnerMatcher::RegExp { regexp } => {
            let is_good = regexp.as_ref().is_ok_and(|regexp| regexp.compiled().is_some());
            is_good.then_some(()).ok_or(BadPattern::RegularExpression)
        }
        InnerMatcher::Literal { .. } | InnerMatcher::SingleCapture { .. } => Ok(()),
    }
}

/// A regular expression with a limit on its memory. It does not report groups, which would double
/// the time of a match.
///
/// It is compiled at its first use. The crate makes one or two regular expressions for each of the
/// eight components of a pattern and seldom uses more than one. Compiling takes nearly all of the
/// time to make a pattern.
struct BoundedRegex {
    text: Box<str>,
    compiled: OnceLock<Option<Regex>>,
}

impl BoundedRegex {
    /// Enough for a few Unicode classes; `[\w-]+` takes 50 KB.
    const MAX_BYTES: usize = 256 * 1024;

    /// `None` if the expression is invalid or exceeds the limit.
    fn compiled(&self) -> Option<&Regex> {
        let compile = || {
            #[cfg(test)]
            tests::COMPILED.set(tests::COMPILED.get() + 1);
            let mut builder = RegexBuilder::new(&self.text);
            // Both limits: the first bounds the compiled program, the second the cache that grows
            // during matches.
            builder.size_limit(Self::MAX_BYTES).dfa_size_limit(Self::MAX_BYTES);
            builder.build().ok()
        };
        self.compiled.get_or_init(compile).as_ref()
    }
}

impl RegExp for BoundedRegex {
    fn syntax() -> RegexSyntax {
        RegexSyntax::Rust
    }

    fn parse(pattern: &str, _flags: &str, _force_eval: bool) -> Result<Self, ()> {
        Ok(Self { text: pattern.into(), compiled: OnceLock::new() })
    }

    fn matches<'a>(&self, text: &'a str) -> Option<Vec<Option<&'a str>>> {
        self.compiled()?.is_match(text).then(Vec::new)
    }

    fn pattern_string(&self) -> &str {
        &self.text
    }
}

fn parse_url_pattern(text: &str) -> Result<UrlPattern<BoundedRegex>, BadPattern> {
    let init = match absolute(text)? {
        Some(init) => init,
        None => UrlPatternInit {
            pathname: Some(text.into()),
            base_url: Some(BASE.clone()),
            ..UrlPatternInit::default()
        },
    };
    Ok(UrlPattern::parse(init, UrlPatternOptions::default())?)
}

/// The components of a pattern with a scheme. `None` for a path.
fn absolute(text: &str) -> Result<Option<UrlPatternInit>, BadPattern> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Ok(None);
    };
    check_brackets(scheme, rest)?;
    match UrlPatternInit::parse_constructor_string::<BoundedRegex>(text, None) {
        Ok(init) => Ok(Some(init)),
        // The parser finds no scheme before the `://`: it belongs to the path.
        Err(Error::BaseUrlRequired) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Rejects patterns for which the parser of the crate would panic: within a host it decrements the
/// number of open brackets below zero. After a plain scheme and host, the parser is past the host
/// when it reaches a bracket.
fn check_brackets(scheme: &str, rest: &str) -> Result<(), BadPattern> {
    // `split` yields at least one part.
    let host = rest.split('/').next().unwrap_or(rest);
    let plain = |part: &str| !part.contains(['[', ']', '{', '(', '\\']);
    let bracket = scheme.contains(']') || rest.contains(']');
    match bracket && !(plain(scheme) && plain(host)) {
        true => Err(BadPattern::Brackets),
        false => Ok(()),
    }
}

/// The same without `://`. A colon that begins no `:name` may end a scheme, and a host may follow.
fn check_brackets_without_scheme(text: &str) -> Result<(), BadPattern> {
    let begins_name =
        |rest: &str| rest.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '$'));
    let plain = !text.contains('\\') && text.split(':').skip(1).all(begins_name);
    match text.contains(']') && !plain {
        true => Err(BadPattern::Brackets),
        false => Ok(()),
    }
}

/// Limits the cost of a match and the number of regular expressions to compile.
fn check_cost(text: &str) -> Result<(), BadPattern> {
    // Too many rather than too few: an escaped operator counts as well.
    let operators = text.matches([':', '*', '+', '?', '(', '{', '[', '|', '\\']);
    match operators.count() > TopicPattern::MAX_OPERATORS {
        true => Err(BadPattern::TooComplex),
        false => Ok(()),
    }
}

impl From<Error> for BadPattern {
    fn from(error: Error) -> Self {
        match error {
            Error::RegExp(()) => Self::RegularExpression,
            Error::Url(_) => Self::NotUrl,
            _ => Self::Syntax,
        }
    }
}

impl From<BadTemplate> for BadPattern {
    fn from(error: BadTemplate) -> Self {
        match error {
            BadTemplate::Syntax => Self::Template,
            BadTemplate::TooComplex => Self::TemplateTooComplex,
        }
    }
}

impl FromStr for TopicPattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        Self::new(text)
    }
}

impl TryFrom<&str> for TopicPattern {
    type Error = BadPattern;

    fn try_from(text: &str) -> Result<Self, BadPattern> {
        Self::new(text)
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl TopicPattern {
    /// The identity of a pattern for equality, order and hash. `Simple` and `Url` share a number,
    /// since the text alone decides between them.
    fn identity(&self) -> (&str, u8) {
        let kind = match self.0.kind {
            Kind::Simple | Kind::Url(_) => 0,
            Kind::Relative(_) => 1,
            Kind::Template(_) => 2,
        };
        (self.as_str(), kind)
    }
}

impl PartialEq for TopicPattern {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for TopicPattern {}

impl Hash for TopicPattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl PartialOrd for TopicPattern {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TopicPattern {
    fn cmp(&self, other: &Self) -> Ordering {
        self.identity().cmp(&other.identity())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::HashSet;
    use std::time::{Duration, Instant};

    use proptest::prelude::*;
    use urlpattern::UrlPatternMatchInput;

    use super::*;

    thread_local! {
        /// Counts the regular expressions that are compiled.
        pub(super) static COMPILED: Cell<usize> = const { Cell::new(0) };
    }

    /// Each of `topics` matches; one written with `!` before it does not.
    #[track_caller]
    fn check(pattern: &str, topics: &[&str]) {
        let compiled = TopicPattern::new(pattern).unwrap();
        for topic in topics {
            let refused = topic.strip_prefix('!');
            let matched = compiled.matches(refused.unwrap_or(topic));
            assert_eq!(matched, refused.is_none(), "{pattern} against {topic}");
        }
    }

    #[track_caller]
    fn check_refused(pattern: &str, expected: BadPattern) {
        assert_eq!(TopicPattern::new(pattern), Err(expected), "{pattern:?}");
        let message = expected.to_string();
        assert!(message.contains(": ") && !message.contains('\n'), "{message}");
    }

    #[test]
    fn a_literal_matches_itself_alone() {
        check("orders/42", &["orders/42", "!orders/4", "!orders/42/"]);
        check("orders/42", &["!orders/42/a", "!Orders/42", "!orders"]);
        check("café & té#1", &["café & té#1", "!café"]);
        check("a//b/", &["a//b/", "!a//b", "!a/b/"]);
        check("/", &["/", "!a", "!//"]);
    }

    #[test]
    fn a_name_is_one_segment_that_is_not_empty() {
        check("orders/:id", &["orders/42", "orders/a b?c#d", "!orders/"]);
        check("orders/:id", &["!orders", "!orders/42/a"]);
        check(":a/x/:_b$2", &["1/x/2", "!1/x/", "!/x/2", "!1/y/2"]);
    }

    #[test]
    fn an_asterisk_is_one_or_more_segments() {
        check("orders/*", &["orders/42", "orders/42/items", "orders/"]);
        check("orders/*", &["orders//", "!orders", "!order/s"]);
        check("a/*/z", &["a/b/z", "a/b/c/z", "a//z", "a/z/z", "!a/z"]);
        check("a/*/b/*/c", &["a/b/b/b/c", "a/1/b/2/b/3/c"]);
        check("a/*/b/*/c", &["!a/b/c", "!a/1/b/c", "!a/1/b/2/c/d"]);
        check("*/*", &["a/b", "a/b/c", "/a/", "!a", "!/a"]);
    }

    #[test]
    fn an_asterisk_alone_matches_every_topic() {
        for pattern in ["*", "/*"] {
            check(pattern, &["a", "/", "//", "a/b?c", "%", r"\", "urn:a:b"]);
            check(pattern, &["https://example.com/", "a://["]);
        }
        assert_eq!(TopicPattern::any(), TopicPattern::new("*").unwrap());
    }

    #[test]
    fn a_leading_slash_is_not_significant() {
        for pattern in ["a/:b", "/a/:b", "a/:b{/x}?", "/a/:b{/x}?", "{/a}/:b"] {
            check(pattern, &["a/1", "/a/1", "!//a/1", "!/a"]);
        }
        check("//a", &["//a", "!/a", "!a"]);
        check("//a{b}?", &["//a", "!/a", "!a"]);
    }

    #[test]
    fn a_backslash_makes_a_literal() {
        check(r"a\:b/*", &["a:b/1", "!a:c/1", "!a/1"]);
        check(r"\*/\a/\\", &[r"*/a/\", r"!x/a/\", "!*/a//"]);
        check(r"a/why\?", &["a/why?", "!a/why", "!a/wh"]);
        check(r"a/why\?-:x", &["a/why?-1", "!a/why", "!a/wh-1"]);
        check(r"a\/b", &["a/b", r"!a\/b"]);
    }

    #[test]
    fn the_rest_of_the_grammar_is_the_standards() {
        check("a-:id", &["a-1", "!a-", "!a-1/2", "!b-1"]);
        check("files/*.json", &["files/a/b.json", "!files/a.xml"]);
        check("a{/:b}?", &["a", "a/1", "!a/", "!a/1/2"]);
        check(":lang?/books", &["books", "en/books", "!en/de/books"]);
        check("a/:b+", &["a/1", "a/1/2", "!a", "!a//"]);
        check("a/:b*", &["a", "a/1/2", "!a/"]);
        check(r"orders/(\d+)", &["orders/42", "!orders/4x", "!orders/"]);
        check(r"y/(\d{4})", &["y/2025", "!y/25"]);
        check("(a|b)/:x", &["a/1", "b/1", "!c/1", "!a"]);
        check("a/:été", &["a/1", "!a/"]);
    }

    #[test]
    fn absolute_patterns_match_absolute_topics_as_urls() {
        let books = "https://example.com/books/:id";
        check(books, &["https://example.com/books/1", "!books/1"]);
        check(books, &["https://EXAMPLE.com:443/books/1?a#b"]);
        check(books, &["!http://example.com/books/1"]);
        check("http{s}?://{:a.}?b.c/*", &["http://b.c/", "https://a.b.c/d"]);
        check(r"https\://a.b/:x\?y=:z", &["https://a.b/1?y=2", "!https://a.b/1"]);
        check("https://a.b/([a-z]+)", &["https://a.b/a", "!https://a.b/1"]);
        check("*://*:8080/x", &["ws://h:8080/x", "!ws://h/x", "!ws://"]);
    }

    #[test]
    fn relative_patterns_match_no_absolute_url() {
        for pattern in [":a/*", "*/books/:id", "*/*", "*{x}?s/1"] {
            check(pattern, &["!https://example.com/books/1"]);
        }
        check("*/books/:id", &["a:b/books/1", "1://books/1", "//books/1"]);
    }

    #[test]
    fn what_urls_escape_is_a_literal_in_every_pattern() {
        for topic in ["a b", "café", "a?b#c", "<\"`>", "a|^[]", "🍵", "a%20b", "a;=@!$&',"] {
            let literal = topic.replace('?', r"\?");
            check(&literal, &[topic]);
            check(&format!("{literal}{{/:x}}?"), &[topic, &format!("{topic}/1")]);
        }
    }

    #[test]
    fn only_patterns_that_are_not_simple_fold_percent_escapes() {
        check("a b/:x", &["a b/1", "!a%20b/1"]);
        check("a b{/:x}?", &["a b", "a%20b"]);
    }

    #[test]
    fn a_backslash_in_a_topic_separates_no_segments() {
        check(":a", &[r"a\b"]);
        check("x-:a", &[r"x-a\b"]);
        check("x-:a/b", &[r"!x-a\b"]);
    }

    #[test]
    fn what_cannot_be_a_pattern_is_refused_with_its_reason() {
        check_refused("", BadPattern::Empty);
        check_refused(&"x".repeat(1025), BadPattern::TooLong(1025));
        for text in ["a\nb", "a\0", "\u{85}/*", "a(\r)"] {
            check_refused(text, BadPattern::ControlCharacter);
        }
        for text in ["\u{feff}a/*", "a/\u{feff}", ":a\u{feff}"] {
            check_refused(text, BadPattern::ByteOrderMark);
        }
        check_refused(":a/:b/:a", BadPattern::DuplicateName);
        check_refused(&":a-".repeat(33), BadPattern::TooComplex);
        for text in ["([)", "(+)", "a(b|[)", "a(x{1000}{1000})"] {
            check_refused(text, BadPattern::RegularExpression);
        }
        check_refused("a b://c/:x-y", BadPattern::NotUrl);
        for text in
            ["a{", "a}", "a{b{c}}", "12:30", "a?b", "a\\", "(a", "()", "((a))", "(?:a)", ":a-:a"]
        {
            check_refused(text, BadPattern::Syntax);
        }
        assert!(TopicPattern::new(&"x".repeat(1024)).is_ok());
    }

    #[test]
    fn no_more_regular_expressions_are_compiled_than_are_matched_with() {
        let base = Url::parse("https://hub.example/.well-known/mercure").unwrap();
        // A scheme with a group is needed once more, to tell how the rest is read.
        let cases = [
            (r"dev/(\d+)", 1),
            ("shop-:id", 0),
            ("https://a.b/:x-:y", 1),
            ("http{s}?://a.b/(c|d)", 3),
        ];
        for (text, count) in cases {
            let before = COMPILED.get();
            let pattern = TopicPattern::new(text).unwrap();
            TopicPattern::relative_to(text, &base).unwrap();
            assert!(!pattern.matches("x"));
            assert_eq!(COMPILED.get() - before, 2 * count, "{text}");
        }
    }

    #[test]
    fn brackets_by_a_host_are_refused_before_the_crate_counts_them() {
        for text in [
            "https://]",
            "[://]",
            "https://{[}]",
            "https://[@]",
            "{://a/}:]",
            "*:]://a",
            "https://(é])/",
        ] {
            check_refused(text, BadPattern::Brackets);
        }
    }

    /// As [`check`], for patterns and topics relative to a URL.
    #[track_caller]
    fn check_relative(pattern: &str, topics: &[&str]) {
        let base = Url::parse("https://hub.example:8443/.well-known/mercure").unwrap();
        let compiled = TopicPattern::relative_to(pattern, &base).unwrap();
        for topic in topics {
            let refused = topic.strip_prefix('!');
            let matched = compiled.matches(refused.unwrap_or(topic));
            assert_eq!(matched, refused.is_none(), "{pattern} against {topic}");
        }
    }

    #[test]
    fn relative_patterns_and_topics_mean_urls() {
        check_relative("/books/:id", &["/books/1", "https://hub.example:8443/books/1", "!books/1"]);
        check_relative(
            "/books/:id",
            &["!https://hub.example/books/1", "!/books/1/2", "../books/1"],
        );
        check_relative("books/:id", &["books/1", "/.well-known/books/1", "!/books/1"]);
        check_relative("books/:id([0-9]+)", &["books/1", "!books/a"]);
        check_relative("https://a.b/:id", &["https://a.b/1", "//a.b/1", "!/1", "!urn:a"]);
        check_relative(r"urn\:isbn\:*", &["urn:isbn:1", "!urn:uuid:1"]);
        check_relative("?page=*", &["?page=2", "!books?page=2"]);
        check_relative("*", &["a", "urn:a:b", "https://a.b/", "a://["]);
    }

    #[test]
    fn relative_patterns_may_be_longer_and_have_brackets_only_where_no_host_can_be() {
        let base = Url::parse("https://hub.example/.well-known/mercure").unwrap();
        let check = |text: &str, expected| {
            assert_eq!(TopicPattern::relative_to(text, &base).map(drop), expected, "{text}");
        };
        check(&"x".repeat(4096), Ok(()));
        check(&"x".repeat(4097), Err(BadPattern::TooLong(4097)));
        for text in ["https:]", "*:]", "[:]", "{/a}?:]", r"https\:a]", "https://]"] {
            check(text, Err(BadPattern::Brackets));
        }
        check("", Err(BadPattern::Empty));
        check("/a\u{85}", Err(BadPattern::ControlCharacter));
        check("/a{", Err(BadPattern::Syntax));
    }

    #[test]
    fn a_template_is_another_pattern_than_a_url_pattern_of_the_same_text() {
        let base = Url::parse("https://hub.example/.well-known/mercure").unwrap();
        let kinds = [
            TopicPattern::new("a{b}").unwrap(),
            TopicPattern::relative_to("a{b}", &base).unwrap(),
            TopicPattern::template("a{b}").unwrap(),
        ];
        assert_eq!(HashSet::from(kinds.clone()).len(), 3);
        assert!(kinds.is_sorted() && kinds.iter().all(|kind| kind.as_str() == "a{b}"));
        assert!(kinds.iter().all(|kind| kind.segments().is_none()));
    }

    #[test]
    fn patterns_are_compared_by_their_text() {
        let [a, b, slash] = [":a-x", ":b", "/:b"].map(|text| TopicPattern::new(text).unwrap());
        assert_eq!(HashSet::from([a.clone(), a.clone(), b.clone(), slash.clone()]).len(), 3);
        assert!(slash < a && a < b);
        assert_eq!(format!("{a} {b:?}"), r#":a-x ":b""#);
        assert_eq!(":b".parse(), Ok(b));
    }

    #[test]
    fn only_simple_patterns_have_segments() {
        let pattern = TopicPattern::new(r"/a\:b/:c/*").unwrap();
        let segments: Vec<_> = pattern.segments().unwrap().collect();
        let literal = PatternSegment::Literal("a:b".into());
        assert_eq!(segments, [literal, PatternSegment::Name, PatternSegment::Any]);
        assert!(TopicPattern::new("a-:b").unwrap().segments().is_none());
    }

    /// The fastest of three, since the machine's other work only ever adds.
    fn fastest(work: impl Fn()) -> Duration {
        let once = |_| {
            let start = Instant::now();
            work();
            start.elapsed()
        };
        (0..3).map(once).min().unwrap()
    }

    #[test]
    fn hostile_patterns_and_topics_cost_a_bounded_time() {
        let cases = [
            ("*/".repeat(500) + "x", "a/".repeat(512)),
            ("*/".to_owned() + &"a/".repeat(250) + "x", "a/".repeat(512)),
            ("*-".repeat(31) + "x", "-".repeat(1024)),
            ("(.*.*.*.*.*.*.*.*x)y".to_owned(), "x".repeat(1024)),
            ("((?:(?:(?:a*)*)*)*)b".to_owned(), "a".repeat(1024)),
        ];
        for (pattern, topic) in cases {
            let pattern = TopicPattern::new(&pattern).unwrap();
            let time = fastest(|| assert!(!pattern.matches(&topic)));
            assert!(time < Duration::from_millis(500), "{pattern} took {time:?}");
        }
    }

    /// The crate itself, by its public face.
    fn check_as_the_crate(pattern: &TopicPattern, topics: &[String]) {
        let init = UrlPatternInit {
            pathname: Some(pattern.as_str().into()),
            base_url: Some(BASE.clone()),
            ..UrlPatternInit::default()
        };
        let reference = <UrlPattern>::parse(init, UrlPatternOptions::default()).unwrap();
        for topic in topics {
            let mut url = BASE.clone();
            url.set_path(&format!("/{}", topic.strip_prefix('/').unwrap_or(topic)));
            let expected = reference.test(UrlPatternMatchInput::Url(url)).unwrap();
            assert_eq!(pattern.matches(topic), expected, "{pattern} against {topic}");
        }
    }

    const LITERALS: &[&str] = &["a", "a", "a", "b", "b", "", "a b", "é", "#", "a.b", "~[]"];

    fn path(segments: &[String]) -> String {
        let path = segments.join("/");
        if path.is_empty() { "/".into() } else { path }
    }

    /// Many for each pattern, since the crate takes its time to compile one.
    fn topics() -> impl Strategy<Value = Vec<String>> {
        let segment = prop::sample::select(LITERALS).prop_map(str::to_owned);
        let topic = prop::collection::vec(segment, 1..8).prop_map(|segments| path(&segments));
        prop::collection::vec(topic, 16)
    }

    fn simple_patterns() -> impl Strategy<Value = String> {
        let segment = prop_oneof![
            4 => prop::sample::select(LITERALS),
            2 => Just(":"),
            2 => Just("*"),
        ];
        prop::collection::vec(segment, 1..7).prop_map(|segments| {
            let segments = segments.iter().enumerate();
            path(&segments.map(|(at, segment)| named(segment, at)).collect::<Vec<_>>())
        })
    }

    fn other_patterns() -> impl Strategy<Value = String> {
        let parts =
            &["a", "b", "/", "/", ":", "*", "{/a}?", "{b/}*", "(a|b)", "/:?", "-", " ", "é"];
        prop::collection::vec(prop::sample::select(parts), 1..7)
            .prop_map(|parts| parts.iter().enumerate().map(|(at, part)| named(part, at)).collect())
    }

    /// Names must differ.
    fn named(part: &str, at: usize) -> String {
        part.replace(':', &format!(":n{at}"))
    }

    const SHARDS: &[&str] = &[
        "a", "/", ":", "*", "?", "+", "{", "}", "(", ")", "[", "]", "\\", "@", "#", "|", "^", "%",
        "1", "://", "https://", "é", " ", "..",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn simple_patterns_follow_the_standard(pattern in simple_patterns(), topics in topics()) {
            let compiled = TopicPattern::new(&pattern).unwrap();
            assert!(compiled.segments().is_some());
            check_as_the_crate(&compiled, &topics);
        }

        #[test]
        fn other_patterns_follow_the_standard(pattern in other_patterns(), topics in topics()) {
            if let Ok(compiled) = TopicPattern::new(&pattern) {
                check_as_the_crate(&compiled, &topics);
            }
        }

        #[test]
        fn no_text_makes_a_pattern_panic(parts in prop::collection::vec(prop::sample::select(SHARDS), 1..12)) {
            let text = parts.concat();
            let relative = TopicPattern::relative_to(&text, &BASE);
            for pattern in [TopicPattern::new(&text), relative, TopicPattern::template(&text)].into_iter().flatten() {
                let _ = pattern.matches(&text);
            }
        }
    }
}
