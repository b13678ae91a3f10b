//! Finds which of very many simple patterns match a topic, in a trie of segments. No I/O, no lock.

use std::collections::{HashMap, HashSet};
use std::ptr;
use std::str::Split;

use carafe_protocol::{PatternSegment, TopicPattern};
use smallvec::SmallVec;

/// An index of simple patterns, each with its keys. A key belongs to one pattern, as a feed does.
///
/// The time of a match depends on the topic's segments and the patterns that match them, and not on
/// the number of patterns. A pattern for which that would not hold is complex.
pub(crate) struct PatternTrie<K> {
    root: Node<K>,
}

/// The hub has as many complex patterns as it may have.
///
/// ```
/// use carafe_hub::{Hub, HubLimits, SubscribeError, TooManyComplexPatterns};
/// use carafe_log::MemoryLog;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limits = HubLimits::default().with_complex_patterns(1);
/// let hub = Hub::with_limits(MemoryLog::default(), limits);
/// let _open = hub.subscribe("shop-:id").await?;
/// let refused = hub.subscribe("orders-:id").await.err();
/// let expected = SubscribeError::TooManyComplexPatterns(TooManyComplexPatterns { limit: 1 });
/// assert_eq!(refused, Some(expected));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the hub has {limit} complex patterns in use, as many as it allows: use literals, \
     `:name` and one `*` between slashes, or try again later"
)]
pub struct TooManyComplexPatterns {
    /// How many distinct complex patterns the hub allows.
    pub limit: usize,
}

/// Why a complex pattern is rejected for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TooManyPatterns {
    /// All clients together use as many as the hub allows.
    InAll { limit: usize },
    /// This client uses as many as it may.
    OfClient { limit: usize },
}

/// Whether a pattern is complex: it has to be tested with each topic.
pub(crate) fn is_complex(pattern: &TopicPattern) -> bool {
    Path::of(pattern).is_none()
}

impl<K: Copy + Eq> PatternTrie<K> {
    pub(crate) fn new() -> Self {
        Self { root: Node::default() }
    }

    /// Adds `key` to `pattern`, if the pattern is simple. Adding a key twice is the same as once.
    pub(crate) fn insert(&mut self, pattern: &TopicPattern, key: K) {
        if let Some(path) = Path::of(pattern) {
            let leaf = path.leaf(key);
            add(&mut self.root.descend(&path.segments).leaves, leaf);
        }
    }

    /// Removes `key` from `pattern`, and with the last key the nodes of the pattern.
    pub(crate) fn remove(&mut self, pattern: &TopicPattern, key: K) {
        if let Some(path) = Path::of(pattern) {
            self.root.remove(&path.segments, path.leaf(key));
        }
    }

    /// Calls `f` with each key whose pattern matches, once, in no order.
    pub(crate) fn for_each_match(&self, topic: &str, mut f: impl FnMut(K)) {
        match TopicPattern::topic_segments(topic) {
            Some(segments) => self.root.walk(segments, &mut HashSet::new(), &mut f),
            None => self.root.tails().for_each(&mut f),
        }
    }
}

/// Segments that may follow a `*`. They could match from each segment of a topic on, and the walk
/// takes as many steps from each.
const AFTER_ANY: usize = 8;

/// The path of a pattern in the trie. A final `*` is no edge: it would need a node for every
/// pattern such as `users/123/*`.
struct Path<'a> {
    segments: Vec<PatternSegment<'a>>,
    tail: bool,
}

impl<'a> Path<'a> {
    /// `None` if the pattern is complex. With two `*` before the end, each could match from any
    /// segment on, and the walk would take quadratic time; with three, cubic.
    fn of(pattern: &'a TopicPattern) -> Option<Self> {
        let mut segments: Vec<_> = pattern.segments()?.collect();
        let is_any = |segment: &PatternSegment<'_>| *segment == PatternSegment::Any;
        let tail = segments.pop_if(|last| is_any(last)).is_some();
        let inner = segments.iter().position(is_any);
        let after = inner.map_or(&[][..], |inner| &segments[inner + 1..]);
        let is_simple = after.len() <= AFTER_ANY && !after.iter().any(is_any);
        is_simple.then_some(Self { segments, tail })
    }

    fn leaf<K>(&self, key: K) -> Leaf<K> {
        Leaf { key, tail: self.tail }
    }
}

/// A node of the trie. There may be a million nodes, so what few of them have is boxed.
struct Node<K> {
    leaves: SmallVec<[Leaf<K>; 1]>,
    children: Option<Box<Children<K>>>,
}

/// The end of a pattern: exactly at this node, or with a `*` that matches all further segments.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Leaf<K> {
    key: K,
    tail: bool,
}

struct Children<K> {
    literals: HashMap<Box<str>, Node<K>>,
    name: Option<Node<K>>,
    any: Option<Node<K>>,
}

impl<K: Copy + Eq> Node<K> {
    fn descend(&mut self, path: &[PatternSegment<'_>]) -> &mut Self {
        path.iter().fold(self, |node, segment| {
            node.children.get_or_insert_default().get_or_create(segment)
        })
    }

    fn remove(&mut self, path: &[PatternSegment<'_>], leaf: Leaf<K>) {
        let Some((segment, path)) = path.split_first() else {
            return self.leaves.retain(|kept| *kept != leaf);
        };
        let Some(children) = &mut self.children else {
            return;
        };
        if let Some(child) = children.get_mut(segment) {
            child.remove(path, leaf);
            if child.is_empty() {
                children.remove(segment);
            }
        }
        if children.is_empty() {
            self.children = None;
        }
    }

    fn is_empty(&self) -> bool {
        self.leaves.is_empty() && self.children.is_none()
    }

    fn tails(&self) -> impl Iterator<Item = K> {
        self.leaves.iter().filter(|leaf| leaf.tail).map(|leaf| leaf.key)
    }

    /// Calls `f` with the keys below this node that match the rest of a topic. `reported` holds the
    /// nodes whose tails were reported: with a `*` in its path, a node is reached several times.
    fn walk(
        &self,
        mut topic: Split<'_, char>,
        reported: &mut HashSet<*const Self>,
        f: &mut impl FnMut(K),
    ) {
        #[cfg(test)]
        tests::STEPS.set(tests::STEPS.get() + 1);
        let Some(segment) = topic.next() else {
            let exact = self.leaves.iter().filter(|leaf| !leaf.tail);
            return exact.for_each(|leaf| f(leaf.key));
        };
        // The address identifies the node: the trie is borrowed, so no node moves during the walk.
        if self.tails().next().is_some() && reported.insert(ptr::from_ref(self)) {
            self.tails().for_each(&mut *f);
        }
        let Some(children) = &self.children else {
            return;
        };
        for child in children.matching(segment) {
            // Recursion is as deep as the pattern has segments, which its maximum length bounds.
            child.walk(topic.clone(), reported, f);
        }
        if let Some(child) = &children.any {
            child.walk_from_each(topic, reported, f);
        }
    }

    /// Walks from each of the remaining segments, since a `*` matches one segment or more.
    fn walk_from_each(
        &self,
        mut topic: Split<'_, char>,
        reported: &mut HashSet<*const Self>,
        f: &mut impl FnMut(K),
    ) {
        loop {
            self.walk(topic.clone(), reported, f);
            if topic.next().is_none() {
                return;
            }
        }
    }
}

impl<K: Copy + Eq> Children<K> {
    fn get_or_create(&mut self, segment: &PatternSegment<'_>) -> &mut Node<K> {
        match segment {
            PatternSegment::Literal(text) => self.literals.entry(text.as_ref().into()).or_default(),
            PatternSegment::Name => self.name.get_or_insert_default(),
            PatternSegment::Any => self.any.get_or_insert_default(),
        }
    }

    fn get_mut(&mut self, segment: &PatternSegment<'_>) -> Option<&mut Node<K>> {
        match segment {
            PatternSegment::Literal(text) => self.literals.get_mut(text.as_ref()),
            PatternSegment::Name => self.name.as_mut(),
            PatternSegment::Any => self.any.as_mut(),
        }
    }

    fn remove(&mut self, segment: &PatternSegment<'_>) {
        match segment {
            PatternSegment::Literal(text) => self.remove_literal(text),
            PatternSegment::Name => self.name = None,
            PatternSegment::Any => self.any = None,
        }
    }

    /// Frees memory when less than a quarter is in use, so that a burst of patterns does not occupy
    /// it for good.
    fn remove_literal(&mut self, text: &str) {
        self.literals.remove(text);
        if self.literals.len() < self.literals.capacity() / 4 {
            self.literals.shrink_to(self.literals.len() * 2);
        }
    }

    fn is_empty(&self) -> bool {
        self.literals.is_empty() && self.name.is_none() && self.any.is_none()
    }

    /// The children that match exactly one segment: this one.
    fn matching(&self, segment: &str) -> impl Iterator<Item = &Node<K>> {
        let name = self.name.iter().filter(|_| !segment.is_empty());
        self.literals.get(segment).into_iter().chain(name)
    }
}

impl<K> Default for Node<K> {
    fn default() -> Self {
        Self { leaves: SmallVec::new(), children: None }
    }
}

impl<K> Default for Children<K> {
    fn default() -> Self {
        Self { literals: HashMap::new(), name: None, any: None }
    }
}

fn add<T: PartialEq>(kept: &mut SmallVec<[T; 1]>, new: T) {
    if !kept.contains(&new) {
        kept.push(new);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    thread_local! {
        /// Counts the visited nodes.
        pub(super) static STEPS: Cell<usize> = const { Cell::new(0) };
    }

    fn pattern(text: &str) -> TopicPattern {
        TopicPattern::new(text).unwrap()
    }

    /// A trie in which the key of each pattern is its text.
    fn index<'a>(patterns: &[&'a str]) -> PatternTrie<&'a str> {
        let mut index = PatternTrie::new();
        for text in patterns {
            index.insert(&pattern(text), *text);
        }
        index
    }

    fn matches<K: Copy + Eq + Ord>(patterns: &PatternTrie<K>, topic: &str) -> Vec<K> {
        let mut keys = Vec::new();
        patterns.for_each_match(topic, |key| keys.push(key));
        keys.sort_unstable();
        keys
    }

    #[track_caller]
    fn check(patterns: &[&str], topic: &str, expected: &[&str]) {
        assert_eq!(matches(&index(patterns), topic), expected, "{topic}");
    }

    fn nodes<K>(node: &Node<K>) -> usize {
        let below = node.children.iter().flat_map(|children| {
            let Children { literals, name, any } = &**children;
            literals.values().chain(name).chain(any)
        });
        1 + below.map(nodes).sum::<usize>()
    }

    #[test]
    fn every_pattern_that_matches_is_reported() {
        let patterns = ["*", "a/*", "a/*/c", "a/:x", "a/:x/c", "a/b/c", "a/b/c/*", "b/*"];
        check(&patterns, "a/b/c", &["*", "a/*", "a/*/c", "a/:x/c", "a/b/c"]);
        check(&patterns, "a/b/c/", &["*", "a/*", "a/b/c/*"]);
        check(&patterns, "/a/b", &["*", "a/*", "a/:x"]);
        check(&patterns, "a/", &["*", "a/*"]);
        check(&patterns, "a", &["*"]);
        check(&patterns, "https://a/b", &["*"]);
    }

    #[test]
    fn a_pattern_that_matches_along_several_paths_is_reported_once() {
        check(&["*/a/*"], "a/a/a/a/a", &["*/a/*"]);
        check(&["*/:x/a"], "a/a/a/a/a", &["*/:x/a"]);
    }

    #[test]
    fn equivalent_patterns_keep_their_own_keys() {
        check(&["/a/:b", "a/:c"], "a/1", &["/a/:b", "a/:c"]);
    }

    #[test]
    fn a_key_added_twice_is_reported_once_and_removed_at_once() {
        for text in ["a/*", "*/a/b/*"] {
            let mut patterns = PatternTrie::new();
            patterns.insert(&pattern(text), 1);
            patterns.insert(&pattern(text), 2);
            patterns.insert(&pattern(text), 1);
            patterns.remove(&pattern(text), 1);
            let topic = text.replace([':', '*'], "x");
            assert_eq!(matches(&patterns, &topic), [2], "{text}");
        }
    }

    #[test]
    fn removing_a_pattern_that_was_never_added_changes_nothing() {
        let mut patterns = index(&["a/b"]);
        for text in ["a", "a/b/c", "a/b/*", "a/*", ":a/b", "*", "b-:c"] {
            patterns.remove(&pattern(text), text);
            patterns.remove(&pattern("a/b"), text);
        }
        assert_eq!(matches(&patterns, "a/b"), ["a/b"]);
        assert_eq!(nodes(&patterns.root), 3);
    }

    #[test]
    fn a_pattern_per_user_costs_one_small_node_and_leaves_nothing_behind() {
        assert!(size_of::<Node<u32>>() <= 40, "{}", size_of::<Node<u32>>());
        let users: Vec<_> =
            (0..20_000).map(|user| (pattern(&format!("users/{user}/*")), user)).collect();
        let mut patterns = PatternTrie::<u32>::new();
        for (pattern, user) in &users {
            patterns.insert(pattern, *user);
        }
        assert_eq!(nodes(&patterns.root), 2 + users.len());
        assert_eq!(matches(&patterns, "users/123/cart"), [123]);
        let (last, rest) = users.split_last().unwrap();
        for (pattern, user) in rest {
            patterns.remove(pattern, *user);
        }
        assert_eq!(nodes(&patterns.root), 3);
        let children = |node: &Node<u32>| node.children.as_ref().unwrap().literals.capacity();
        let of_users = &patterns.root.children.as_ref().unwrap().literals["users"];
        assert!(children(of_users) < 32);
        patterns.remove(&last.0, last.1);
        assert!(patterns.root.is_empty());
    }

    #[test]
    fn hostile_patterns_and_topics_cost_a_bounded_number_of_steps() {
        const SEGMENTS: usize = 512;
        let mut patterns = PatternTrie::new();
        for length in 0..100 {
            patterns.insert(&pattern(&("*/".to_owned() + &"a/".repeat(length) + "x")), length);
        }
        let before = STEPS.get();
        assert!(matches(&patterns, &"a/".repeat(SEGMENTS)).is_empty());
        let steps = STEPS.get() - before;
        assert!((SEGMENTS..SEGMENTS * (AFTER_ANY + 2)).contains(&steps), "{steps}");
    }

    #[test]
    fn patterns_that_would_make_the_walk_long_are_complex() {
        let complex = |text: &str| is_complex(&pattern(text));
        assert!(
            !["*", "a/:b/*", "*/a/*", "a/*/b/c/d/e/f/g/h/i", "a/b/c/d/e/f/g/h/i/j/k"]
                .into_iter()
                .any(complex)
        );
        assert!(["a-:b", "*/a/*/b", "*/a/*/*", "*/a/b/c/d/e/f/g/h/i"].into_iter().all(complex));
    }

    fn texts() -> impl Strategy<Value = String> {
        let segment = prop::sample::select(&[
            "a", "a", "a", "b", "b", "", ":x", ":y", ":z", "*", "*", "a-:m", r"a\:",
        ]);
        prop::collection::vec(segment, 1..6).prop_filter_map("names must differ", |segments| {
            Some(segments.join("/"))
                .filter(|text| TopicPattern::new(text).is_ok_and(|pattern| !is_complex(&pattern)))
        })
    }

    fn topics() -> impl Strategy<Value = String> {
        let segment = prop::sample::select(&["a", "a", "a", "b", "b", "", "a-b", "a:"]);
        prop::collection::vec(segment, 1..7).prop_map(|segments| segments.join("/"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_index_agrees_with_testing_every_pattern(
            // Few, so that removing finds what was added.
            texts in prop::collection::vec(texts(), 1..24),
            steps in prop::collection::vec(
                (any::<prop::sample::Index>(), 0..3_u32, any::<bool>(), topics()), 1..100
            ),
        ) {
            let known: Vec<_> = texts.iter().map(|text| pattern(text)).collect();
            let mut patterns = PatternTrie::new();
            let mut model = Vec::new();
            for (at, key, add, topic) in steps {
                let at = at.index(known.len());
                let (pattern, key) = (&known[at], (at, key));
                model.retain(|entry| *entry != (pattern, key));
                if add {
                    model.push((pattern, key));
                    patterns.insert(pattern, key);
                } else {
                    patterns.remove(pattern, key);
                }
                let matching = model.iter().filter(|(pattern, _)| pattern.matches(&topic));
                let mut expected: Vec<_> = matching.map(|(_, key)| *key).collect();
                expected.sort_unstable();
                prop_assert_eq!(matches(&patterns, &topic), expected, "{}", topic);
            }
            for (pattern, key) in model {
                patterns.remove(pattern, key);
            }
            prop_assert!(patterns.root.is_empty());
        }
    }
}
