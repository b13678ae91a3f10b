//! Decides which subscriber may see what, and which topics have ended, over plain texts. It shares
//! no code with the hub, so that it does not share the hub's defects.

use std::collections::{BTreeMap, HashMap, HashSet};

/// Every secret begins with this, and nothing else contains it.
const MARK: char = '~';

/// Random numbers from a seed (SplitMix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// Some numbers below `of`.
    pub(crate) fn some(&mut self, most: usize, of: usize) -> Vec<usize> {
        (0..self.below(most + 1)).map(|_| self.below(of)).collect()
    }

    /// A text that occurs nowhere else by chance.
    pub(crate) fn secret(&mut self) -> String {
        format!("{MARK}{:016x}", self.next())
    }
}

/// What the oracle knows: all topics and matchers, and every event.
pub(crate) struct Oracle {
    pub(crate) topics: Vec<String>,
    pub(crate) matchers: Vec<String>,
    /// By matcher and topic, whether they match.
    fits: Vec<Vec<bool>>,
    pub(crate) events: Vec<Fact>,
    secrets: HashMap<String, Secret>,
    /// All positions that the hub has given out.
    positions: HashSet<String>,
}

/// An event as its publisher knows it, or the end of a topic.
pub(crate) struct Fact {
    pub(crate) what: What,
    /// The numbers of its topics, the canonical one first.
    pub(crate) topics: Vec<usize>,
    pub(crate) private: bool,
    /// The data of an event, or the reason of an end.
    pub(crate) data: String,
    /// The publisher's ID.
    pub(crate) id: String,
    pub(crate) event_type: Option<String>,
    pub(crate) position: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Event,
    /// An event that begins a new life of its topics.
    Reopening,
    /// The end of its only topic, as done.
    End,
}

/// What the hub has to answer to a publisher with the right to publish.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Stored,
    /// The topic has ended in the same way at this position.
    Repeated(String),
    /// A topic has ended.
    Refused,
}

/// What a secret belongs to.
enum Secret {
    /// A topic, by its number.
    Topic(usize),
    /// An event, by its number.
    Events(Vec<usize>),
}

/// A reader, by the numbers of matchers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    /// Whether public events of all topics are seen.
    pub(crate) public: bool,
    /// The matchers that are granted.
    pub(crate) granted: Vec<usize>,
    /// The matchers that are requested; everything if there is none.
    pub(crate) asked: Vec<usize>,
}

/// A stream that is read.
pub(crate) struct Reading {
    pub(crate) wish: Wish,
    /// The ID after which the stream was to resume; empty if there is none.
    pub(crate) requested: String,
    /// Events have the IDs that their publishers gave them.
    pub(crate) custom_format: bool,
}

/// How many things were judged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) events: usize,
    pub(crate) positions: usize,
    pub(crate) gaps: usize,
    pub(crate) ends: usize,
}

impl Oracle {
    /// Topics have one secret segment each. A hub begins with a position, too.
    pub(crate) fn new(topics: Vec<String>, matchers: Vec<String>, first: String) -> Self {
        let row = |matcher: &String| topics.iter().map(|topic| fits(matcher, topic)).collect();
        let fits = matchers.iter().map(row).collect();
        let names = topics.iter().enumerate();
        let secrets =
            names.map(|(at, topic)| (secrets(topic).next().unwrap().to_owned(), Secret::Topic(at)));
        let (secrets, positions) = (secrets.collect(), HashSet::from([first]));
        Self { fits, secrets, positions, topics, matchers, events: Vec::new() }
    }

    /// An event that is not published yet.
    pub(crate) fn draft(&self, random: &mut Random) -> Fact {
        let what = match random.below(16) {
            0 => What::End,
            1..4 => What::Reopening,
            _ => What::Event,
        };
        // The last topics are never published to.
        let count = self.topics.len() - 4;
        let mut topics = vec![random.below(count)];
        if what != What::End && random.one_in(3) {
            topics.extend(random.some(2, count));
        }
        let shares = what != What::End && random.one_in(8);
        let shared = shares.then(|| random.below(self.events.len().max(1)));
        let shared = shared.and_then(|at| self.events.get(at)).map(|event| event.id.clone());
        Fact {
            what,
            topics,
            private: random.one_in(2),
            data: random.secret(),
            id: shared.unwrap_or_else(|| random.secret()),
            event_type: (what != What::End && random.one_in(3)).then(|| random.secret()),
            position: String::new(),
        }
    }

    pub(crate) fn publish(&mut self, fact: Fact) {
        let at = self.events.len();
        for text in [&fact.data, &fact.id].into_iter().chain(&fact.event_type) {
            match self.secrets.entry(text.clone()).or_insert_with(|| Secret::Events(Vec::new())) {
                Secret::Events(events) => events.push(at),
                Secret::Topic(_) => panic!("the secret of a topic is that of an event"),
            }
        }
        self.positions.insert(fact.position.clone());
        self.events.push(fact);
    }

    /// What has to become of a draft. The first `gone` events are trimmed.
    pub(crate) fn fate(&self, draft: &Fact, gone: usize) -> Fate {
        let end = draft.topics.iter().find_map(|topic| self.end_of(*topic, gone));
        match (draft.what, end) {
            (What::Reopening, _) | (_, None) => Fate::Stored,
            (What::Event, Some(_)) => Fate::Refused,
            (What::End, Some(end)) => Fate::Repeated(end.position.clone()),
        }
    }

    /// The end of a topic that was not reopened since.
    fn end_of(&self, topic: usize, gone: usize) -> Option<&Fact> {
        let changes = |fact: &&Fact| fact.what != What::Event && fact.topics.contains(&topic);
        self.events[gone..].iter().rfind(changes).filter(|fact| fact.what == What::End)
    }

    /// Whether a reader asks for exact topics only, which have all ended, as far as it may know.
    pub(crate) fn has_ended(&self, wish: &Wish, gone: usize) -> bool {
        let asked = match &wish.asked[..] {
            [] if wish.public => &[][..],
            [] => &wish.granted,
            asked => asked,
        };
        let end = |matcher: &usize| {
            let name = &self.matchers[*matcher];
            let topic = self.topics.iter().position(|topic| topic == name)?;
            self.end_of(topic, gone).filter(|end| self.may_see(wish, end))
        };
        !asked.is_empty() && asked.iter().all(|matcher| end(matcher).is_some())
    }

    pub(crate) fn is_exact(&self, matcher: usize) -> bool {
        !self.matchers[matcher].contains(['*', ':', '{'])
    }

    fn is_among(&self, topic: usize, matchers: &[usize]) -> bool {
        matchers.iter().any(|matcher| self.fits[*matcher][topic])
    }

    /// Whether all events of the topic are seen, private ones too.
    pub(crate) fn is_granted(&self, wish: &Wish, topic: usize) -> bool {
        self.is_among(topic, &wish.granted)
    }

    /// Whether an event may be seen, requested or not.
    pub(crate) fn may_see(&self, wish: &Wish, event: &Fact) -> bool {
        (wish.public && !event.private)
            || event.topics.iter().any(|topic| self.is_granted(wish, *topic))
    }

    pub(crate) fn may_have(&self, wish: &Wish, event: &Fact) -> bool {
        let asks = |topic: &usize| wish.asked.is_empty() || self.is_among(*topic, &wish.asked);
        event.topics.iter().any(asks) && self.may_see(wish, event)
    }

    /// Whether the request has to be rejected: of a topic that it names, or of all topics, no event
    /// may be seen.
    pub(crate) fn is_refused(&self, wish: &Wish) -> bool {
        let named = |matcher: &&usize| self.is_exact(**matcher);
        let topic = |matcher: &usize| {
            self.topics.iter().position(|topic| *topic == self.matchers[*matcher])
        };
        let mut named = wish.asked.iter().filter(named).filter_map(topic);
        !wish.public
            && (wish.granted.is_empty() || named.any(|topic| !self.is_granted(wish, topic)))
    }

    /// Whether the reader may know that an event has this topic too.
    fn may_know_topic(&self, wish: &Wish, event: &Fact, topic: usize) -> bool {
        event.topics.contains(&topic)
            && ((wish.public && !event.private) || self.is_granted(wish, topic))
    }

    /// Judges everything in some whole blocks of an event stream, byte by byte.
    pub(crate) fn judge(&self, reading: &Reading, text: &str, tally: &mut Tally) {
        for block in text.split("\n\n").filter(|block| !block.is_empty()) {
            self.judge_block(reading, block, tally);
        }
    }

    fn judge_block(&self, reading: &Reading, block: &str, tally: &mut Tally) {
        let fields: BTreeMap<_, _> =
            block.lines().filter_map(|line| line.split_once(':')).collect();
        let field = |name: &str| fields.get(name).copied().unwrap_or_default().trim_start();
        let event = self.event_of(reading, block);
        for secret in secrets(block).filter(|secret| *secret != reading.requested) {
            let permitted = event.is_some_and(|event| self.may_be_sent(reading, event, secret));
            assert!(
                permitted,
                "{secret}, {}, is sent to {}:\n{block}",
                self.what(secret),
                self.who(reading)
            );
        }
        match (event, field("event")) {
            (Some(event), "carafe.end") => {
                assert_eq!((event.what, field("id")), (What::End, &*event.position), "{block}");
                self.judge_end(event, field("data"));
                tally.ends += 1;
            }
            (Some(event), _) => {
                assert_ne!(event.what, What::End, "{block}");
                let id = if reading.custom_format { &event.id } else { &event.position };
                assert_eq!(field("id"), id, "{block}");
                tally.events += 1;
            }
            (None, "carafe.position" | "carafe.expired") => {
                let data = format!("{{\"position\":\"{}\"}}", field("id"));
                assert_eq!(field("data"), data, "{block}");
                self.judge_position(reading, field("id"));
                tally.positions += 1;
            }
            (None, "carafe.gap") => {
                self.judge_position(reading, field("id"));
                self.judge_gap(reading, field("data"), tally);
            }
            (None, _) => self.judge_comments(reading, block, tally),
        }
    }

    /// The event of a block: its data is there, and the reader may see it.
    fn event_of(&self, reading: &Reading, block: &str) -> Option<&Fact> {
        let known = secrets(block).filter_map(|secret| match self.secrets.get(secret) {
            Some(Secret::Events(events)) => Some(events),
            Some(Secret::Topic(_)) | None => None,
        });
        let mut events = known.flatten().map(|at| &self.events[*at]);
        events.find(|event| block.contains(&event.data) && self.may_have(&reading.wish, event))
    }

    fn may_be_sent(&self, reading: &Reading, event: &Fact, secret: &str) -> bool {
        match self.secrets.get(secret) {
            Some(Secret::Topic(topic)) => self.may_know_topic(&reading.wish, event, *topic),
            // Only a custom format shows the publisher's ID.
            _ if secret == event.id => reading.custom_format,
            _ => secret == event.data || event.event_type.as_deref() == Some(secret),
        }
    }

    /// The position is one that the hub has given out, of any event.
    fn judge_position(&self, reading: &Reading, position: &str) {
        assert!(position == reading.requested || self.positions.contains(position), "{position}");
    }

    /// The end says what its publisher has said, and nothing else.
    fn judge_end(&self, end: &Fact, json: &str) {
        let said: BTreeMap<String, String> = serde_json::from_str(json).unwrap();
        let expected = [
            ("outcome", "done"),
            ("position", &end.position),
            ("reason", &end.data),
            ("topic", &self.topics[end.topics[0]]),
        ];
        assert!(said.iter().map(|(name, value)| (&**name, &**value)).eq(expected), "{json}");
    }

    /// What a custom format writes beside events, and nothing else.
    fn judge_comments(&self, reading: &Reading, block: &str, tally: &mut Tally) {
        for line in block.lines().filter(|line| !line.starts_with("retry: ")) {
            let comment =
                line.strip_prefix(':').unwrap_or_else(|| panic!("of what event is\n{block}"));
            if let Some(gap) = comment.strip_prefix(" carafe.gap ") {
                self.judge_gap(reading, gap, tally);
            } else {
                assert!(["", " carafe.expired"].contains(&comment), "{block}");
                tally.positions += 1;
            }
        }
    }

    /// The gap has the requested ID, the oldest position and the reason, and nothing else.
    fn judge_gap(&self, reading: &Reading, json: &str, tally: &mut Tally) {
        let gap: BTreeMap<String, Option<String>> = serde_json::from_str(json).unwrap();
        let names: Vec<_> = gap.keys().map(String::as_str).collect();
        assert_eq!(names, ["oldest", "reason", "requested"]);
        [&gap["oldest"], &gap["requested"]]
            .into_iter()
            .flatten()
            .for_each(|id| self.judge_position(reading, id));
        assert!(
            ["trimmed", "foreign"].contains(&gap["reason"].as_deref().unwrap_or_default()),
            "{json}"
        );
        tally.gaps += 1;
    }

    fn what(&self, secret: &str) -> String {
        match self.secrets.get(secret) {
            None => "which no log has".into(),
            Some(Secret::Topic(topic)) => format!("the topic {}", self.topics[*topic]),
            Some(Secret::Events(events)) => {
                let event = &self.events[events[0]];
                let topics: Vec<_> =
                    event.topics.iter().map(|topic| &self.topics[*topic]).collect();
                format!("of an event of {topics:?}, private: {}", event.private)
            }
        }
    }

    fn who(&self, reading: &Reading) -> String {
        let Wish { public, granted, asked } = &reading.wish;
        let [granted, asked] = [granted, asked].map(|matchers| {
            matchers.iter().map(|at| self.matchers[*at].as_str()).collect::<Vec<_>>()
        });
        format!("who sees public events: {public}, is granted {granted:?} and asks for {asked:?}")
    }
}

/// The topics, some of which never have an event, and the matchers that are requested and granted.
pub(crate) fn names(random: &mut Random) -> (Vec<String>, Vec<String>) {
    let mut topics = Vec::new();
    for root in ["orders", "users", "chat/rooms"] {
        topics.extend((0..4).map(|_| format!("{root}/{}", random.secret())));
        topics.extend((0..3).map(|_| format!("{root}/{}/lines", random.secret())));
        topics.extend((0..2).map(|_| format!("{root}/lines/{}", random.secret())));
    }
    let patterns = [
        "*",
        "orders/*",
        "orders/:id",
        "users/:id",
        "users/*",
        "*/lines",
        "chat/:what/:id",
        ":a/:b/lines",
    ];
    let scanned = ["*/lines/*", "*/rooms/*/lines"];
    let matchers =
        patterns.into_iter().chain(scanned).map(Into::into).chain(topics.iter().cloned());
    (topics.clone(), matchers.collect())
}

/// All secrets in a text.
pub(crate) fn secrets(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(MARK).map(|(at, _)| {
        let rest = &text[at..];
        &rest[..rest.len().min(17)]
    })
}

/// Whether a matcher matches a topic. `:name` or `{name}` takes a segment, `*` takes one or more.
fn fits(matcher: &str, topic: &str) -> bool {
    let [matcher, topic] = [matcher, topic].map(|text| text.split('/').collect::<Vec<_>>());
    segments_fit(&matcher, &topic)
}

fn segments_fit(matcher: &[&str], topic: &[&str]) -> bool {
    match (matcher, topic) {
        ([], []) => true,
        ([], _) | (_, []) => false,
        (["*", rest @ ..], _) => (1..=topic.len()).any(|taken| segments_fit(rest, &topic[taken..])),
        ([first, rest @ ..], [segment, others @ ..]) => {
            (first.starts_with([':', '{']) || first == segment) && segments_fit(rest, others)
        }
    }
}
