//! Topic selectors: how each version names the topics of a subscription or a grant.

use std::sync::LazyLock;

use carafe_hub::{Client, Hub};
use carafe_protocol::{BadPattern, BadTopic, Topic, TopicMatcher, TopicPattern};
use regex::Regex;
use url::Url;

use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::mercure::form_data::FormData;

/// The selector of all topics, whatever the type of the matcher.
pub(crate) const ALL: &str = "*";

/// The most selectors of a subscription of 0.x.
pub(crate) const SELECTORS: usize = 1000;

/// The most URI Templates among them: each is a regular expression that is tested with each
/// topic.
const TEMPLATES: usize = 100;

/// The most variables of all of them, counted before a template is compiled.
const VARIABLES: usize = 300;

/// The most matchers of a subscription of 1.0.
pub(crate) const MATCHERS: usize = 100;

/// Why a text is not a valid selector of 0.x.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadSelector {
    /// It can match no valid topic.
    #[error(transparent)]
    NoTopic(#[from] BadTopic),
    /// It is a URI Template that is too complex.
    #[error(transparent)]
    TooComplex(BadPattern),
}

/// A selector of 0.x: `*`, a URI Template, or the topic itself. Each selector also matches the
/// topic with its own text.
pub(crate) fn zero(text: &str) -> Result<TopicMatcher, BadSelector> {
    if text == ALL {
        return Ok(TopicMatcher::any());
    }
    if text.contains('{') {
        match TopicPattern::template(text) {
            Ok(template) => return Ok(template.into()),
            Err(error @ BadPattern::TemplateTooComplex) => {
                return Err(BadSelector::TooComplex(error));
            }
            // It only looks like a template.
            Err(_) => {}
        }
    }
    Ok(Topic::new(text)?.into())
}

/// The selectors of a subscription of 0.x.
pub(crate) async fn all_zero(
    hub: &Hub,
    client: Option<Client>,
    parameters: &FormData,
) -> Result<Vec<TopicMatcher>, Problem> {
    let texts: Vec<_> = parameters.all("topic").collect();
    check_count(&texts).map_err(bad)?;
    let mut matchers = Vec::with_capacity(texts.len());
    for text in texts {
        let matcher = match text.contains('{') {
            true => {
                let text = text.to_owned();
                hub.compile(client, move || zero(&text)).await
            }
            false => zero(text),
        };
        matchers.push(matcher.map_err(|error| bad(format!("`{text}`: {error}")))?);
    }
    Ok(matchers)
}

/// Rejects what is too much work before any of it is done.
fn check_count(texts: &[&str]) -> Result<(), String> {
    let templates: Vec<_> = texts.iter().filter(|text| text.contains('{')).collect();
    // An upper bound without parsing: each variable follows a brace or a comma.
    let variables: usize = templates.iter().map(|text| text.matches(['{', ',']).count()).sum();
    if texts.is_empty() {
        return Err("no topic is asked for: give `topic`, or `match` as of Mercure 1.0".into());
    }
    if texts.len() > SELECTORS {
        return Err(format!(
            "there are more than {SELECTORS} topics: ask for fewer, or use a URI Template"
        ));
    }
    if templates.len() > TEMPLATES || variables > VARIABLES {
        return Err(format!(
            "there are more than {TEMPLATES} URI Templates, or {VARIABLES} variables in them: use \
             one for several topics"
        ));
    }
    Ok(())
}

/// The kind of a matcher of 1.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MatchType {
    Exact,
    UrlPattern,
}

impl MatchType {
    /// The type of the matchers that this parameter has.
    pub(crate) fn of_parameter(name: &str) -> Option<Self> {
        match name {
            "match" | "match_exact" => Some(Self::Exact),
            "match_urlpattern" => Some(Self::UrlPattern),
            _ => None,
        }
    }

    /// The type of this name, in its only letter case.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Exact, Self::UrlPattern].into_iter().find(|known| known.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::UrlPattern => "urlpattern",
        }
    }

    /// The matcher, or why the text is invalid.
    pub(crate) fn matcher(self, text: &str, resource: &Url) -> Result<TopicMatcher, String> {
        if text == ALL {
            return Ok(TopicMatcher::any());
        }
        if has_invisible(text) {
            return Err(
                "a topic or pattern has a control or format character: use printable text".into()
            );
        }
        match self {
            Self::Exact => Topic::new(text).map(Into::into).map_err(|error| error.to_string()),
            Self::UrlPattern => TopicPattern::relative_to(text, resource)
                .map(Into::into)
                .map_err(|error| error.to_string()),
        }
    }
}

/// Whether a parameter is, or may become, one of the matchers of 1.0: the prefix is reserved in
/// every letter case.
pub(crate) fn is_match(name: &str) -> bool {
    name.as_bytes().get(..5).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"match"))
}

/// The matchers of a subscription of 1.0.
pub(crate) async fn all_one(
    hub: &Hub,
    client: Option<Client>,
    parameters: &FormData,
    resource: &Url,
) -> Result<Vec<TopicMatcher>, Problem> {
    let asked = parameters.pairs().filter(|(name, _)| is_match(name) || *name == "topic");
    // The number is checked before any is compiled.
    let asked: Vec<_> = asked.take(MATCHERS + 1).collect();
    match asked.len() {
        0 => {
            return Err(bad(
                "no topic is asked for: give `match`, `match_exact` or `match_urlpattern`".into(),
            ));
        }
        1..=MATCHERS => {}
        _ => {
            return Err(bad(format!(
                "there are more than {MATCHERS} matchers: ask for fewer, or use a pattern for \
                 several"
            )));
        }
    }
    let mut matchers = Vec::with_capacity(asked.len());
    for (name, text) in asked {
        let match_type = MatchType::of_parameter(name).ok_or_else(|| {
            bad(format!(
                "there is no parameter `{name}` in Mercure 1.0: use `match`, \
                 `match_exact` and `match_urlpattern`"
            ))
        })?;
        let matcher = match match_type {
            MatchType::Exact => match_type.matcher(text, resource),
            MatchType::UrlPattern => {
                let (text, resource) = (text.to_owned(), resource.clone());
                hub.compile(client, move || match_type.matcher(&text, &resource)).await
            }
        };
        matchers.push(matcher.map_err(bad)?);
    }
    Ok(matchers)
}

/// Whether the text has a control or format character, which people do not see.
pub(crate) fn has_invisible(text: &str) -> bool {
    static INVISIBLE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"[\p{Cc}\p{Cf}]").expect("this constant is a regular expression")
    });
    INVISIBLE.is_match(text)
}

fn bad(detail: String) -> Problem {
    Problem::of(ProblemKind::BadTopic, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each of `topics` matches; a topic after `!` does not.
    #[track_caller]
    fn check(matcher: &TopicMatcher, topics: &[&str]) {
        for topic in topics {
            let refused = topic.strip_prefix('!');
            let matched = matcher.matches(&Topic::new(refused.unwrap_or(topic)).unwrap());
            assert_eq!(matched, refused.is_none(), "{matcher} against {topic}");
        }
    }

    #[test]
    fn a_selector_of_0_is_everything_a_topic_or_a_template() {
        check(&zero("*").unwrap(), &["a", "https://example.com/", "*"]);
        check(
            &zero("https://example.com/a").unwrap(),
            &["https://example.com/a", "!https://example.com/b"],
        );
        let template = zero("https://example.com/{id}").unwrap();
        check(
            &template,
            &["https://example.com/1", "https://example.com/{id}", "!https://example.com/1/2"],
        );
        check(&zero("orders/:id").unwrap(), &["orders/:id", "!orders/1"]);
    }

    #[test]
    fn what_would_be_too_much_work_is_refused_before_it_is_done() {
        let refused = |text: &str, count: usize| check_count(&vec![text; count]).err();
        assert_eq!(
            [refused("a", 1), refused("a", 1000), refused("a/{b}", 100), refused("{a,b,c}", 100)],
            [None, None, None, None]
        );
        assert!(refused("a", 0).unwrap().contains("`topic`"));
        assert!(refused("a", 1001).unwrap().contains("1000 topics"));
        assert!(refused("a/{b}", 101).unwrap().contains("100 URI Templates"));
        assert!(refused("{a,b,c}{d}", 76).unwrap().contains("300 variables"));
    }

    #[test]
    fn what_looks_like_a_template_and_is_none_is_the_topic() {
        for text in ["a{", "a{b c}", "{}", "{\"json\": 1}"] {
            check(&zero(text).unwrap(), &[text, "!a", "!ab"]);
        }
        for text in ["", "a/../b", &"x".repeat(1025)] {
            assert!(matches!(zero(text), Err(BadSelector::NoTopic(_))), "{text}");
        }
    }

    #[test]
    fn a_template_that_costs_too_much_is_no_topic_instead() {
        let text = format!("{{{}}}", ["a"; 13].join(","));
        assert_eq!(zero(&text), Err(BadSelector::TooComplex(BadPattern::TemplateTooComplex)));
    }

    #[test]
    fn format_characters_are_invisible() {
        for text in ["a\u{200b}", "\u{202e}a", "a\u{feff}", "a\0", "a\u{85}", "\u{e0041}"] {
            assert!(has_invisible(text), "{text:?}");
        }
        assert!(!has_invisible("https://example.com/caf\u{e9}?a=\u{1f375} b"));
    }
}
