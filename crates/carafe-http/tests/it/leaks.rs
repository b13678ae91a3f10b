//! No event reaches a client without the right to it, by either protocol. An independent oracle
//! knows the rights of each client.

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use axum::response::Response;
use carafe_http::auth::{Dialect, Key, Keys, Signer};
use carafe_http::{Mercure, Options, Rights, router};
use carafe_hub::{Access, Grant, Hub, HubLimits};
use carafe_log::{MemoryLimits, MemoryLog};
use carafe_protocol::TopicPattern;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::oracle::{Fact, Fate, Oracle, Random, Reading, Tally, What, Wish, names, secrets};

const SEED: u64 = 0xCAFE;
const HUBS: usize = 14;
const STEPS: usize = 400;
const CARAFE: &[u8] = b"a secret of more than thirty-two bytes";
const MERCURE: &[u8] = b"another secret, of more than thirty-two bytes";
const MERCURE_PATH: &str = "/.well-known/mercure";

#[tokio::test(start_paused = true)]
async fn nothing_is_revealed_over_http_without_access() {
    let seed = std::env::var("CARAFE_TEST_SEED").map_or(SEED, |seed| seed.parse().unwrap());
    println!("CARAFE_TEST_SEED={seed}");
    let (mut tally, mut random, mut refused) = (Tally::default(), Random::new(seed), [0, 0]);
    for _ in 0..HUBS {
        let mut world = World::new(Random::new(random.next()), &mut tally, &mut refused);
        for _ in 0..STEPS {
            world.step().await;
        }
        world.finish().await;
    }
    println!("{tally:?}, {refused:?} requests refused: nothing leaked");
    assert!(tally.events > 3_000 && tally.gaps > 0 && refused.iter().all(|count| *count > 100));
    assert!(tally.ends > 60);
}

/// One hub behind its router.
struct World<'a> {
    random: Random,
    tally: &'a mut Tally,
    /// Tokens to subscribe, and to publish.
    refused: &'a mut [usize; 2],
    oracle: Oracle,
    hub: Hub,
    app: Router,
    /// What clients without a token may see.
    strangers: Wish,
    streams: Vec<(Reading, Body)>,
    /// The responses to clients that may not ask for a topic, by dialect and whether they had a
    /// token.
    refusals: [Option<String>; 4],
}

/// A caller: its dialect, and its token.
struct Asking {
    mercure: bool,
    token: Option<String>,
    /// Numbers of matchers.
    publishes: Vec<usize>,
    wish: Wish,
}

impl<'a> World<'a> {
    fn new(mut random: Random, tally: &'a mut Tally, refused: &'a mut [usize; 2]) -> Self {
        let (entries, ring_bytes) =
            (*random.pick(&[30, usize::MAX]), *random.pick(&[0, 4_000, 1 << 20]));
        let log = MemoryLog::new(MemoryLimits::default().with_entries(entries));
        let hub = Hub::with_limits(log, HubLimits::default().with_ring_bytes(ring_bytes));
        let (topics, mut matchers) = names(&mut random);
        matchers.push("users/:id/lines".into());
        let nothing = Wish::default();
        // All of `orders/*`.
        let some = Wish { granted: vec![1], ..nothing.clone() };
        let strangers =
            random.pick(&[nothing.clone(), some, Wish { public: true, ..nothing }]).clone();
        let access = Access::to(Grant::to(
            strangers.granted.iter().map(|at| TopicPattern::new(&matchers[*at]).unwrap().into()),
        ));
        let keys = [
            Key::secret(CARAFE).unwrap(),
            Key::secret(MERCURE).unwrap().with_dialect(Dialect::Mercure0),
        ];
        let mut options = Options::default();
        options.keys = Keys::new(keys);
        options.anonymous = Rights::none().with_subscribe(access.with_public(strangers.public));
        options.mercure = Some(Mercure::default());
        Self {
            oracle: Oracle::new(topics, matchers, hub.position().to_string()),
            app: router(hub.clone(), options),
            random,
            tally,
            refused,
            hub,
            strangers,
            streams: Vec::new(),
            refusals: Default::default(),
        }
    }

    async fn step(&mut self) {
        match self.random.below(5) {
            0 | 1 => self.publish().await,
            2 => self.subscribe().await,
            3 if !self.streams.is_empty() => {
                let at = self.random.below(self.streams.len());
                let (reading, mut body) = self.streams.swap_remove(at);
                self.oracle.judge(&reading, &read(&mut body).await, self.tally);
                self.streams.push((reading, body));
            }
            _ => self.head().await,
        }
    }

    /// All tokens expire, which ends the streams with a token.
    async fn finish(mut self) {
        tokio::time::sleep(Duration::from_secs(3700)).await;
        for (reading, mut body) in std::mem::take(&mut self.streams) {
            self.oracle.judge(&reading, &read(&mut body).await, self.tally);
        }
    }

    fn asking(&mut self) -> Asking {
        let mercure = self.random.one_in(3);
        let usable = |at: &usize| {
            !mercure || self.oracle.matchers[*at] == "*" || !self.oracle.matchers[*at].contains('*')
        };
        let all: Vec<usize> = (0..self.oracle.matchers.len()).filter(usable).collect();
        let mut some = |most: usize| -> Vec<usize> {
            self.random.some(most, all.len()).iter().map(|at| all[*at]).collect()
        };
        let (mut publishes, mut granted, asked) = (some(6), some(3), some(3));
        // Everything.
        publishes.extend(self.random.one_in(2).then_some(0));
        if self.random.one_in(5) {
            let wish = Wish { asked, ..self.strangers.clone() };
            return Asking { mercure, token: None, publishes: Vec::new(), wish };
        }
        let texts = |matchers: &[usize]| {
            matchers.iter().map(|at| self.name(*at, mercure)).collect::<Vec<_>>()
        };
        let claims = json!({"publish": texts(&publishes), "reopen": texts(&publishes),
            "subscribe": texts(&granted)});
        let token = Some(token(mercure, claims));
        // In Mercure, the holder of a token to subscribe sees public events.
        granted.extend(&self.strangers.granted);
        let wish = Wish { public: self.strangers.public || mercure, granted, asked };
        Asking { mercure, token, publishes, wish }
    }

    /// A matcher in the syntax of its dialect.
    fn name(&self, matcher: usize, mercure: bool) -> String {
        let text = &self.oracle.matchers[matcher];
        let segment = |segment: &str| match segment.strip_prefix(':') {
            Some(name) if mercure => format!("{{{name}}}"),
            _ => segment.to_owned(),
        };
        text.split('/').map(segment).collect::<Vec<_>>().join("/")
    }

    async fn ask(
        &self,
        asking: &Asking,
        method: Method,
        target: &str,
        cursor: &str,
        body: String,
    ) -> Response {
        let target = target.replace('{', "%7B").replace('}', "%7D");
        let kind = if asking.mercure {
            "application/x-www-form-urlencoded"
        } else if target == "/events" {
            "application/x-ndjson"
        } else {
            "text/plain"
        };
        let mut request =
            Request::builder().method(method).uri(target).header("content-type", kind);
        if let Some(token) = &asking.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if !cursor.is_empty() {
            request = request.header("last-event-id", cursor);
        }
        let answer = self.app.clone().oneshot(request.body(Body::from(body)).unwrap());
        while_time_stands(answer).await.unwrap()
    }

    /// An event is stored exactly if each of its topics is granted, and none has ended.
    async fn publish(&mut self) {
        let asking = self.asking();
        let mut fact = self.oracle.draft(&mut self.random);
        if asking.mercure {
            // The protocol has neither.
            fact.what = What::Event;
        }
        let same = |event: &Fact| event.id == fact.id && event.topics[0] == fact.topics[0];
        if self.oracle.events.iter().any(same) {
            return;
        }
        let grant = Wish { granted: asking.publishes.clone(), ..Wish::default() };
        let granted = fact.topics.iter().all(|topic| self.oracle.is_granted(&grant, *topic));
        let (tail, fate) = (self.hub.position(), self.oracle.fate(&fact, self.gone()));
        let response = self.send(&asking, &fact).await;
        let (status, text) = (response.status(), whole(response).await);
        if !granted {
            self.refused[1] += 1;
            assert!(
                [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status),
                "{status} {text}"
            );
            return assert_eq!(self.hub.position(), tail, "something was stored");
        }
        let stored = if asking.mercure { StatusCode::OK } else { StatusCode::CREATED };
        match fate {
            Fate::Stored => assert_eq!(status, stored, "{text}"),
            Fate::Repeated(position) => {
                assert_eq!((status, self.hub.position()), (StatusCode::OK, tail), "{text}");
                return assert!(text.contains(&position), "{text}");
            }
            Fate::Refused => {
                assert_eq!((status, self.hub.position()), (StatusCode::CONFLICT, tail), "{text}");
                return self.tells_own_topics_only(&fact, &text);
            }
        }
        // The same key under another topic is another key.
        fact.position = self.hub.position().to_string();
        assert!(text.contains(if asking.mercure { &fact.id } else { &fact.position }), "{text}");
        self.oracle.publish(fact);
    }

    /// A publisher learns of the end of a topic that it has named, and of nothing else.
    fn tells_own_topics_only(&self, fact: &Fact, text: &str) {
        let own: Vec<_> = fact.topics.iter().map(|at| &self.oracle.topics[*at]).collect();
        assert!(secrets(text).all(|secret| own.iter().any(|name| name.contains(secret))), "{text}");
    }

    /// How many events are trimmed, according to the log.
    fn gone(&self) -> usize {
        let start = self.hub.counts().span.start.to_string();
        let at = self.oracle.events.iter().rposition(|event| event.position == start);
        at.map_or(0, |at| at + 1)
    }

    async fn send(&mut self, asking: &Asking, fact: &Fact) -> Response {
        let names: Vec<_> = fact.topics.iter().map(|at| self.oracle.topics[*at].clone()).collect();
        let (data, id, kind) = (&fact.data, &fact.id, fact.event_type.as_deref());
        if asking.mercure {
            let mut form = format!("data={data}&id={id}");
            names.iter().for_each(|name| form += &format!("&topic={name}"));
            kind.into_iter().for_each(|kind| form += &format!("&type={kind}"));
            form += if fact.private { "&private=on" } else { "" };
            return self.ask(asking, Method::POST, MERCURE_PATH, "", form).await;
        }
        if fact.what == What::Event && self.random.one_in(2) {
            let line = json!({"topic": names[0], "alternates": names[1..], "data": data, "id": id,
                "event": kind, "private": fact.private});
            return self.ask(asking, Method::POST, "/events", "", line.to_string()).await;
        }
        let mut target = format!("/events/{}?id={id}", names[0]);
        names[1..].iter().for_each(|name| target += &format!("&topic={name}"));
        kind.into_iter().for_each(|kind| target += &format!("&event={kind}"));
        target += if fact.private { "&private" } else { "" };
        target += if fact.what == What::Reopening { "&reopen" } else { "" };
        if fact.what == What::End {
            target += &format!("&end=done&reason={data}");
            return self.ask(asking, Method::POST, &target, "", String::new()).await;
        }
        self.ask(asking, Method::POST, &target, "", data.clone()).await
    }

    /// What is requested, by which endpoint, and after which ID.
    fn target(&mut self, asking: &mut Asking) -> (String, String) {
        let cursor = self.cursor();
        if asking.mercure {
            if asking.wish.asked.is_empty() {
                asking.wish.asked.push(0);
            }
            let asked: Vec<_> = asking
                .wish
                .asked
                .iter()
                .map(|at| format!("topic={}", self.name(*at, true)))
                .collect();
            return (format!("{MERCURE_PATH}?{}", asked.join("&")), cursor);
        }
        let mut target = String::from("/events?");
        for at in &asking.wish.asked {
            let kind = if self.oracle.is_exact(*at) { "topic" } else { "pattern" };
            target += &format!("{kind}={}&", self.oracle.matchers[*at]);
        }
        target += self.random.pick::<&str>(&["", "envelope=json&"]);
        target += self.random.pick::<&str>(&["", "", "earliest", "last=0", "last=3"]);
        (target, cursor)
    }

    /// The ID of any event, as its publisher or the hub names it, or none.
    fn cursor(&mut self) -> String {
        match self.oracle.events.len() {
            0 => String::new(),
            count => {
                let event = &self.oracle.events[self.random.below(count)];
                self.random.pick(&[String::new(), event.id.clone(), event.position.clone()]).clone()
            }
        }
    }

    async fn subscribe(&mut self) {
        let mut asking = self.asking();
        let (target, requested) = self.target(&mut asking);
        let response = self.ask(&asking, Method::GET, &target, &requested, String::new()).await;
        if self.is_refused(&asking) {
            return self.refuses(&asking, &target, response).await;
        }
        if response.status() == StatusCode::NO_CONTENT {
            assert!(self.oracle.has_ended(&asking.wish, self.gone()), "{target}");
            return assert!(!asking.mercure && !requested.is_empty(), "{target}");
        }
        assert_eq!(response.status(), StatusCode::OK, "{target}");
        if asking.mercure && !requested.is_empty() {
            self.check_cursor(&asking.wish, &requested, response.headers());
        }
        let reading = Reading { wish: asking.wish, requested, custom_format: asking.mercure };
        self.streams.push((reading, response.into_body()));
    }

    fn is_refused(&self, asking: &Asking) -> bool {
        self.oracle.is_refused(&asking.wish)
    }

    /// Mercure reports whether the ID was found. That of an invisible event must not be.
    fn check_cursor(&self, wish: &Wish, requested: &str, headers: &HeaderMap) {
        let gone = self.gone();
        let named = |event: &&Fact| event.id == requested || event.position == requested;
        let mut named = self.oracle.events[gone..].iter().filter(named);
        let found = named.any(|event| self.oracle.may_see(wish, event));
        assert_eq!(headers["last-event-id"], if found { requested } else { "earliest" });
    }

    /// The response is the same whether the topic exists or not, and contains only what was
    /// requested.
    async fn refuses(&mut self, asking: &Asking, target: &str, response: Response) {
        self.refused[0] += 1;
        let has_token = asking.token.is_some();
        let status = if has_token { StatusCode::FORBIDDEN } else { StatusCode::UNAUTHORIZED };
        let status = if asking.mercure { StatusCode::UNAUTHORIZED } else { status };
        assert_eq!(response.status(), status, "{target}");
        let mut words = whole(response).await;
        let revealed: Vec<_> = secrets(&words).map(ToOwned::to_owned).collect();
        assert!(revealed.iter().all(|secret| target.contains(secret)), "{words}");
        for topic in &self.oracle.topics {
            words = words.replace(&format!("`{topic}`"), "it");
        }
        if !revealed.is_empty() {
            let at = usize::from(asking.mercure) * 2 + usize::from(has_token);
            assert_eq!(self.refusals[at].get_or_insert_with(|| words.clone()), &words);
        }
    }

    /// The topic, if one is requested by name and nothing else, and whether the client may publish
    /// to it. Only the hub's own protocol tells the state of a topic.
    fn only_topic(&self, asking: &Asking) -> (Option<usize>, bool) {
        let asked: HashSet<_> = asking.wish.asked.iter().collect();
        let mut names = asked.iter().map(|at| &self.oracle.matchers[**at]);
        let (Some(name), None, false) = (names.next(), names.next(), asking.mercure) else {
            return (None, false);
        };
        let topic = self.oracle.topics.iter().position(|topic| topic == name);
        let grant = Wish { granted: asking.publishes.clone(), ..Wish::default() };
        (topic, topic.is_some_and(|topic| self.oracle.is_granted(&grant, topic)))
    }

    /// The head has the position of the hub, whatever is requested, and the last key of a topic.
    async fn head(&mut self) {
        let mut asking = self.asking();
        let (target, requested) = self.target(&mut asking);
        let response = self.ask(&asking, Method::HEAD, &target, &requested, String::new()).await;
        let position = response.headers().get("carafe-position").cloned();
        let revealed: String = response
            .headers()
            .values()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        let (topic, feeds) = self.only_topic(&asking);
        let may_know = |secret: &str| {
            self.oracle.events.iter().any(|event| {
                let may_see = feeds || self.oracle.may_see(&asking.wish, event);
                let is_key = event.id == secret && event.what != What::End;
                is_key && Some(event.topics[0]) == topic && may_see
            })
        };
        assert!(
            secrets(&revealed)
                .all(|secret| secret == requested || target.contains(secret) || may_know(secret)),
            "{revealed}"
        );
        let shown = feeds || !self.is_refused(&asking);
        assert_eq!(response.status() == StatusCode::OK, shown, "{target}");
        if response.status() == StatusCode::OK && !asking.mercure {
            assert_eq!(position.unwrap(), self.hub.position().to_string().as_str());
        } else {
            assert_eq!(position, None);
        }
    }
}

/// The claims of a token that expires in an hour.
fn token(mercure: bool, claims: Value) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (secret, mut claims) = match mercure {
        true => (MERCURE, json!({"mercure": claims})),
        false => (CARAFE, claims),
    };
    claims["exp"] = json!(now + 3600);
    Signer::secret(secret).unwrap().sign(&claims).unwrap()
}

/// Patterns are compiled on a thread of their own. A paused clock advances while the runtime
/// waits for it, and tokens would expire; it does not while a blocking task runs.
async fn while_time_stands<F: Future>(answer: F) -> F::Output {
    let (answered, waits) = std::sync::mpsc::channel::<()>();
    let blocking = tokio::task::spawn_blocking(move || waits.recv());
    let output = answer.await;
    drop(answered);
    assert!(blocking.await.unwrap().is_err(), "nothing is ever sent");
    output
}

async fn whole(response: Response) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// Everything that is there now.
async fn read(body: &mut Body) -> String {
    let mut read = String::new();
    while let Ok(Some(frame)) = tokio::time::timeout(Duration::from_millis(1), body.frame()).await {
        read += std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap();
    }
    read
}
