//! Random subscribers and updates of both versions, against what a table says that each has to get.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use crate::http::Stream;
use crate::mercure::fixture::{Hub, with_one, with_zero};
use crate::process::seed;

const TOPICS: [&str; 5] = ["a", "b", "/x/1", "/x/2", "https://example.com/y/1"];

/// Selectors of 0.x, and which of the topics each means.
const ZERO: [(&str, &[usize]); 8] = [
    ("*", &[0, 1, 2, 3, 4]),
    ("a", &[0]),
    ("/x/1", &[2]),
    ("/x/{n}", &[2, 3]),
    ("{letter}", &[0, 1]),
    ("{+all}", &[0, 1, 2, 3, 4]),
    ("https://example.com/{+path}", &[4]),
    ("/x/{n}/more", &[]),
];

/// Matchers of 1.0, the same.
const ONE: [(&str, &str, &[usize]); 8] = [
    ("urlpattern", "*", &[0, 1, 2, 3, 4]),
    ("exact", "b", &[1]),
    ("exact", "/x/2", &[3]),
    ("urlpattern", "/x/:n", &[2, 3]),
    ("urlpattern", "a", &[0]),
    ("urlpattern", "https://example.com/*", &[4]),
    ("exact", "*", &[0, 1, 2, 3, 4]),
    ("urlpattern", "/y/:n", &[]),
];

/// Who asks for some topics, and has a grant for some.
struct Subscriber {
    asked: Vec<(String, &'static str)>,
    cursor: &'static str,
    token: Option<String>,
    wants: Vec<usize>,
    may: Vec<usize>,
}

struct Update {
    topics: Vec<usize>,
    private: bool,
}

impl Subscriber {
    fn zero(random: &mut StdRng) -> Self {
        let (asked, granted) = (some(&ZERO, 1..=3, random), some(&ZERO, 0..=2, random));
        let selectors: Vec<_> = granted.iter().map(|(text, _)| text).collect();
        let token = random.random_bool(0.8).then(|| with_zero(&json!({ "subscribe": selectors })));
        Self {
            asked: asked.iter().map(|(text, _)| ("topic".into(), *text)).collect(),
            cursor: "lastEventID",
            wants: asked.iter().flat_map(|(_, topics)| topics.iter().copied()).collect(),
            may: granted
                .iter()
                .filter(|_| token.is_some())
                .flat_map(|(_, topics)| topics.iter().copied())
                .collect(),
            token,
        }
    }

    fn one(random: &mut StdRng) -> Self {
        let (asked, granted) = (some(&ONE, 1..=3, random), some(&ONE, 1..=2, random));
        let topics: Vec<_> = granted
            .iter()
            .map(|(kind, text, _)| json!({"match": text, "match_type": kind}))
            .collect();
        let kind = "https://mercure.rocks/authorization-detail";
        let details = json!([{"type": kind, "actions": ["subscribe"], "topics": topics}]);
        let token = random.random_bool(0.8).then(|| with_one(&details));
        Self {
            asked: asked.iter().map(|(kind, text, _)| (format!("match_{kind}"), *text)).collect(),
            cursor: "last_event_id",
            wants: asked.iter().flat_map(|(_, _, topics)| topics.iter().copied()).collect(),
            may: granted
                .iter()
                .filter(|_| token.is_some())
                .flat_map(|(_, _, topics)| topics.iter().copied())
                .collect(),
            token,
        }
    }

    fn gets(&self, update: &Update) -> bool {
        let one_of = |set: &[usize]| update.topics.iter().any(|topic| set.contains(topic));
        one_of(&self.wants) && (!update.private || one_of(&self.may))
    }

    fn open(&self, hub: &Hub, from: Option<&str>) -> Stream {
        let end = (self.asked[0].0.replace("urlpattern", "exact"), "end");
        let asked = self.asked.iter().chain([&end]).map(|(name, text)| (name.as_str(), *text));
        let pairs: Vec<_> = asked.chain(from.map(|id| (self.cursor, id))).collect();
        hub.stream(&pairs, &[self.token.as_deref().unwrap_or("X-No: token")])
    }
}

fn some<T: Copy>(
    table: &[T],
    count: std::ops::RangeInclusive<usize>,
    random: &mut StdRng,
) -> Vec<T> {
    let count = random.random_range(count);
    table.sample(random, count).copied().collect()
}

fn update(random: &mut StdRng) -> Update {
    let all: Vec<_> = (0..TOPICS.len()).collect();
    Update { topics: some(&all, 1..=2, random), private: random.random_bool(0.5) }
}

/// The numbers of the updates that come before the end.
#[track_caller]
fn numbers_received(mut stream: Stream) -> Vec<usize> {
    let data = std::iter::from_fn(|| stream.next())
        .map(|event| event.data)
        .take_while(|data| data != "end");
    data.map(|number| number.parse().unwrap()).collect()
}

#[test]
fn everybody_gets_what_is_theirs_and_nothing_else_live_and_from_history() {
    let mut random = StdRng::seed_from_u64(seed());
    let hub = Hub::open(&[]);
    let subscribers: Vec<_> = (0..20)
        .map(|number| {
            if number % 2 == 0 {
                Subscriber::zero(&mut random)
            } else {
                Subscriber::one(&mut random)
            }
        })
        .collect();
    let live: Vec<_> = subscribers.iter().map(|subscriber| subscriber.open(&hub, None)).collect();
    let updates: Vec<_> = (0..200).map(|_| update(&mut random)).collect();
    for (number, update) in updates.iter().enumerate() {
        let (number, id) = (number.to_string(), format!("urn:{number}"));
        let mut fields = vec![("data", &*number), ("id", &*id)];
        fields.extend(update.topics.iter().map(|topic| ("topic", TOPICS[*topic])));
        fields.extend(update.private.then_some(("private", "on")));
        hub.publish(&fields);
    }
    hub.publish(&[("topic", "end"), ("data", "end")]);

    let mut private = 0;
    for (subscriber, live) in subscribers.iter().zip(live) {
        let gets = |number: &usize| subscriber.gets(&updates[*number]);
        let expected: Vec<_> = (0..updates.len()).filter(gets).collect();
        private += expected.iter().filter(|number| updates[**number].private).count();
        assert_eq!(numbers_received(live), expected, "live: {:?}", subscriber.asked);
        assert_eq!(
            numbers_received(subscriber.open(&hub, Some("earliest"))),
            expected,
            "all: {:?}",
            subscriber.asked
        );
        if let Some(at) = expected.len().checked_sub(2) {
            let id = format!("urn:{}", expected[at]);
            assert_eq!(
                numbers_received(subscriber.open(&hub, Some(&id))),
                expected[at + 1..],
                "after {id}"
            );
        }
    }
    assert!(private > 0, "no private update was to be seen");
}
