//! URI Templates against an expander that is written from RFC 6570 and shares nothing with what
//! matches them.

use std::fs;
use std::path::Path;

use carafe_protocol::{BadPattern, TopicPattern};
use proptest::prelude::*;

use crate::expander::{Value, expand, what_expands_matches};

fn variable(name: &str) -> Option<Value> {
    let text = |text: &str| Some(Value::Text(text.into()));
    let list =
        |members: &[&str]| Some(Value::List(members.iter().map(|&member| member.into()).collect()));
    match name {
        "count" => list(&["one", "two", "three"]),
        "dom" => list(&["example", "com"]),
        "dub" => text("me/too"),
        "hello" => text("Hello World!"),
        "half" => text("50%"),
        "var" => text("value"),
        "who" => text("fred"),
        "base" => text("http://example.com/home/"),
        "path" => text("/foo/bar"),
        "list" => list(&["red", "green", "blue"]),
        "keys" => Some(Value::Pairs(
            [("semi", ";"), ("dot", "."), ("comma", ",")].map(|(k, v)| (k.into(), v.into())).into(),
        )),
        "v" => text("6"),
        "x" => text("1024"),
        "y" => text("768"),
        "empty" => text(""),
        _ => None,
    }
}

/// RFC 6570, section 3.2.
const EXAMPLES: &[(&str, &str)] = &[
    ("{count}", "one,two,three"),
    ("{count*}", "one,two,three"),
    ("{/count}", "/one,two,three"),
    ("{/count*}", "/one/two/three"),
    ("{;count}", ";count=one,two,three"),
    ("{;count*}", ";count=one;count=two;count=three"),
    ("{?count}", "?count=one,two,three"),
    ("{?count*}", "?count=one&count=two&count=three"),
    ("{&count*}", "&count=one&count=two&count=three"),
    ("{var}", "value"),
    ("{hello}", "Hello%20World%21"),
    ("{half}", "50%25"),
    ("O{empty}X", "OX"),
    ("O{undef}X", "OX"),
    ("{x,y}", "1024,768"),
    ("{x,hello,y}", "1024,Hello%20World%21,768"),
    ("?{x,empty}", "?1024,"),
    ("?{x,undef}", "?1024"),
    ("?{undef,y}", "?768"),
    ("{var:3}", "val"),
    ("{var:30}", "value"),
    ("{list}", "red,green,blue"),
    ("{list*}", "red,green,blue"),
    ("{keys}", "semi,%3B,dot,.,comma,%2C"),
    ("{keys*}", "semi=%3B,dot=.,comma=%2C"),
    ("{+var}", "value"),
    ("{+hello}", "Hello%20World!"),
    ("{+half}", "50%25"),
    ("{base}index", "http%3A%2F%2Fexample.com%2Fhome%2Findex"),
    ("{+base}index", "http://example.com/home/index"),
    ("O{+empty}X", "OX"),
    ("{+path}/here", "/foo/bar/here"),
    ("here?ref={+path}", "here?ref=/foo/bar"),
    ("up{+path}{var}/here", "up/foo/barvalue/here"),
    ("{+x,hello,y}", "1024,Hello%20World!,768"),
    ("{+path,x}/here", "/foo/bar,1024/here"),
    ("{+path:6}/here", "/foo/b/here"),
    ("{+list}", "red,green,blue"),
    ("{+keys}", "semi,;,dot,.,comma,,"),
    ("{+keys*}", "semi=;,dot=.,comma=,"),
    ("{#var}", "#value"),
    ("{#hello}", "#Hello%20World!"),
    ("foo{#empty}", "foo#"),
    ("foo{#undef}", "foo"),
    ("{#x,hello,y}", "#1024,Hello%20World!,768"),
    ("{#path,x}/here", "#/foo/bar,1024/here"),
    ("{#path:6}/here", "#/foo/b/here"),
    ("{#keys*}", "#semi=;,dot=.,comma=,"),
    ("{.who,who}", ".fred.fred"),
    ("{.half,who}", ".50%25.fred"),
    ("www{.dom*}", "www.example.com"),
    ("X{.empty}", "X."),
    ("X{.undef}", "X"),
    ("X{.var:3}", "X.val"),
    ("X{.list*}", "X.red.green.blue"),
    ("X{.keys}", "X.semi,%3B,dot,.,comma,%2C"),
    ("X{.keys*}", "X.semi=%3B.dot=..comma=%2C"),
    ("{/who,dub}", "/fred/me%2Ftoo"),
    ("{/var,empty}", "/value/"),
    ("{/var,undef}", "/value"),
    ("{/var,x}/here", "/value/1024/here"),
    ("{/var:1,var}", "/v/value"),
    ("{/list*,path:4}", "/red/green/blue/%2Ffoo"),
    ("{/keys*}", "/semi=%3B/dot=./comma=%2C"),
    ("{;who}", ";who=fred"),
    ("{;empty}", ";empty"),
    ("{;v,empty,who}", ";v=6;empty;who=fred"),
    ("{;v,undef,who}", ";v=6;who=fred"),
    ("{;x,y,empty}", ";x=1024;y=768;empty"),
    ("{;hello:5}", ";hello=Hello"),
    ("{;keys}", ";keys=semi,%3B,dot,.,comma,%2C"),
    ("{;keys*}", ";semi=%3B;dot=.;comma=%2C"),
    ("{?x,y,empty}", "?x=1024&y=768&empty="),
    ("{?x,y,undef}", "?x=1024&y=768"),
    ("{?var:3}", "?var=val"),
    ("{?list*}", "?list=red&list=green&list=blue"),
    ("{?keys*}", "?semi=%3B&dot=.&comma=%2C"),
    ("?fixed=yes{&x}", "?fixed=yes&x=1024"),
    ("{&x,y,empty}", "&x=1024&y=768&empty="),
    ("{&var:3}", "&var=val"),
    ("{&keys*}", "&semi=%3B&dot=.&comma=%2C"),
];

#[test]
fn the_examples_of_the_rfc_match() {
    for (template, expansion) in EXAMPLES {
        assert_eq!(
            expand(template, &variable).as_deref(),
            Some(*expansion),
            "the expander on {template}"
        );
        let compiled = TopicPattern::template(template).unwrap();
        assert!(compiled.matches(expansion), "{template} against {expansion}");
        let other = format!("{expansion} ");
        assert!(!compiled.matches(&other), "{template} against {other:?}");
    }
}

#[test]
fn a_template_matches_its_own_text() {
    let template = TopicPattern::template("https://example.com/{id}").unwrap();
    assert!(
        template.matches("https://example.com/{id}")
            && !template.matches("https://example.com/{ix}")
    );
}

#[test]
fn a_template_that_is_too_long_or_wrong_is_refused_with_a_sentence() {
    for (text, expected) in [
        ("x".repeat(1025), BadPattern::TooLong(1025)),
        (String::new(), BadPattern::Empty),
        ("a\n{b}".into(), BadPattern::ControlCharacter),
        ("{b".into(), BadPattern::Template),
        ("{a:999}".repeat(8), BadPattern::TemplateTooComplex),
    ] {
        assert_eq!(TopicPattern::template(&text), Err(expected));
        assert!(expected.to_string().contains(": "), "{expected}");
    }
}

#[test]
fn every_template_of_the_fuzz_corpus_matches_what_it_expands_to() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/template");
    let (mut files, mut expanded) = (0, 0);
    for entry in fs::read_dir(&corpus).expect("the corpus is in the repository") {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        expanded += usize::from(what_expands_matches(&fs::read(&path).unwrap()));
        files += 1;
    }
    assert!(
        files >= 20 && expanded >= 15,
        "only {expanded} of {files} expand in {}",
        corpus.display()
    );
}

const NAMES: &[&str] = &["a", "b", "a.b", "c_1", "d%2F"];

fn texts() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(&[
        "", "x", "yz", "/", "?&=", ",", "%", "%2F", "é", "🍵", " ", ";a", ".",
    ]);
    prop::collection::vec(parts, 0..4).prop_map(|parts| parts.concat())
}

fn values() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        1 => Just(None),
        4 => texts().prop_map(|text| Some(Value::Text(text))),
        2 => prop::collection::vec(texts(), 0..4).prop_map(|members| Some(Value::List(members))),
        2 => prop::collection::vec((texts(), texts()), 0..4).prop_map(|pairs| Some(Value::Pairs(pairs))),
    ]
}

fn expressions() -> impl Strategy<Value = String> {
    let operator = prop::sample::select(&["", "+", "#", ".", "/", ";", "?", "&"]);
    let modifier = prop::sample::select(&["", "", "*", ":1", ":2", ":30", ":5000"]);
    let variable = (prop::sample::select(NAMES), modifier)
        .prop_map(|(name, modifier)| format!("{name}{modifier}"));
    (operator, prop::collection::vec(variable, 1..4))
        .prop_map(|(operator, variables)| format!("{{{operator}{}}}", variables.join(",")))
}

fn templates() -> impl Strategy<Value = String> {
    let literal = prop::sample::select(&["", "/books/", "?a=b", "é", "%20", "https://example.com"]);
    let part = prop_oneof![literal.prop_map(str::to_owned), expressions()];
    prop::collection::vec(part, 1..5).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_a_template_expands_to_matches(
        template in templates(),
        values in prop::collection::vec(values(), NAMES.len()),
    ) {
        let value = |name: &str| NAMES.iter().position(|known| *known == name).and_then(|at| values[at].clone());
        let expansion = expand(&template, &value).unwrap();
        if let Ok(compiled) = TopicPattern::template(&template) {
            prop_assert!(compiled.matches(&expansion), "{} against {}", template, expansion);
        }
    }
}
