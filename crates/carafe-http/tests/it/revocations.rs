//! Revoked tokens and users: what is refused, and which streams end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::http::{Request, Response};
use axum::{Extension, Router};
use carafe_http::auth::{Dialect, Key, Keys, Signer};
use carafe_http::{
    Mercure, Options, Revocation, RevocationLimits, Revocations, RevokeError, Rights, router,
};
use carafe_hub::{Grant, Hub};
use carafe_log::{AppendAt, Clock, Entry, MemoryLog, Publication, Read, TimeSource};
use carafe_protocol::{Position, Topic};
use futures_util::FutureExt;
use futures_util::stream::poll_fn;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tower::ServiceExt;

const SECRET: &[u8] = b"a secret of more than thirty-two bytes";
const OTHER: &[u8] = b"another secret of thirty-two bytes or more";
const MERCURE: &[u8] = b"a secret for Mercure of thirty-two bytes";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A token that grants everything and expires in an hour.
fn token(claims: Value) -> String {
    signed(SECRET, claims)
}

fn signed(secret: &[u8], mut claims: Value) -> String {
    let all = json!({
        "exp": now() + 3600, "publish": ["*"], "subscribe": ["*"],
        "mercure": {"publish": ["*"], "subscribe": ["*"]},
    });
    for (name, value) in all.as_object().unwrap() {
        claims.as_object_mut().unwrap().entry(name).or_insert(value.clone());
    }
    Signer::secret(secret).unwrap().sign(&claims).unwrap()
}

/// A hub that trusts the secrets.
struct Rig {
    app: Router,
    revocations: Revocations,
    hub: Hub,
}

impl Rig {
    fn new() -> Self {
        Self::with(Options::default())
    }

    fn with(options: Options) -> Self {
        Self::on(Hub::new(MemoryLog::default()), options)
    }

    fn on(hub: Hub, mut options: Options) -> Self {
        options.keys = Keys::new([
            Key::secret(SECRET).unwrap(),
            Key::secret(OTHER).unwrap(),
            Key::secret(MERCURE).unwrap().with_dialect(Dialect::Mercure0),
        ]);
        options.mercure = Some(Mercure::default());
        let revocations = options.revocations.clone();
        Self { app: router(hub.clone(), options), revocations, hub }
    }

    async fn ask(&self, request: Request<Body>) -> Response<Body> {
        self.app.clone().oneshot(request).await.unwrap()
    }

    async fn open(&self, target: &str, token: &str) -> Response<Body> {
        self.ask(request("GET", target, token, "")).await
    }

    /// Whether the token is refused on all paths, or accepted on all.
    async fn refuses(&self, token: &str) -> bool {
        let requests = [
            request("GET", "/events/a", token, ""),
            request("HEAD", "/events/a", token, ""),
            request("POST", "/events/a", token, "data"),
        ];
        let mut statuses = Vec::new();
        for request in requests {
            statuses.push(self.ask(request).await.status().as_u16());
        }
        assert!(statuses == [401; 3] || statuses == [200, 200, 201], "{statuses:?}");
        statuses == [401; 3]
    }

    async fn revoke(&self, revocation: Revocation) -> bool {
        self.revocations.revoke(&revocation).await.unwrap().0
    }
}

fn request(method: &str, target: &str, token: &str, body: &'static str) -> Request<Body> {
    let request = Request::builder().method(method).uri(target);
    let request = request.header("authorization", format!("Bearer {token}"));
    request.body(body.into()).unwrap()
}

/// The whole body of a response.
async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

async fn ends_expired(response: Response<Body>) {
    let text = text(response).await;
    assert_eq!(text.matches("event: carafe.expired\n").count(), 1, "{text}");
}

fn subject(name: &str) -> Revocation {
    Revocation::of_subject(name)
}

#[tokio::test]
async fn a_revoked_subject_loses_its_streams_and_its_tokens_and_nobody_else_does() {
    let rig = Rig::new();
    let (ann, bob) = (token(json!({"sub": "ann"})), token(json!({"sub": "bob"})));
    let nameless = token(json!({}));
    let (of_ann, of_bob) = (rig.open("/events/a", &ann).await, rig.open("/events/a", &bob).await);
    assert!(rig.revoke(subject("ann")).await);
    ends_expired(of_ann).await;
    assert!(rig.refuses(&ann).await && !rig.refuses(&bob).await && !rig.refuses(&nameless).await);
    let hub = rig.hub.clone();
    hub.close().await;
    assert!(!text(of_bob).await.contains("carafe.expired"));
}

#[tokio::test]
async fn a_stream_ends_that_waits_for_events_when_its_token_is_revoked() {
    let rig = Rig::new();
    let stream = rig.open("/events/a", &token(json!({"jti": "7"}))).await;
    let reading = tokio::spawn(ends_expired(stream));
    // The reader has the opening, and waits.
    while rig.hub.subscriptions() == 0 {
        tokio::task::yield_now().await;
    }
    rig.revoke(Revocation::of_token("7")).await;
    reading.await.unwrap();
}

/// A body that a test feeds.
fn open_body() -> (UnboundedSender<&'static str>, Body) {
    let (sender, mut lines) = unbounded_channel();
    let next = poll_fn(move |cx| lines.poll_recv(cx).map(|line| line.map(Ok::<_, Infallible>)));
    (sender, Body::from_stream(next))
}

#[tokio::test]
async fn requests_that_are_still_being_read_are_refused_when_their_token_is_revoked() {
    let rig = Rig::new();
    let open = [
        ("/events/a", "text/plain"),
        ("/events/a?split=lines", "text/plain"),
        ("/events", "application/x-ndjson"),
        ("/.well-known/mercure", "application/x-www-form-urlencoded"),
    ];
    let mut answers = Vec::new();
    for (target, content_type) in open {
        let (body, content) = open_body();
        let ann =
            signed(if target.contains("well") { MERCURE } else { SECRET }, json!({"sub": "ann"}));
        let mut post = request("POST", target, &ann, "");
        post.headers_mut().insert("content-type", content_type.parse().unwrap());
        *post.body_mut() = content;
        let mut answer = Box::pin(rig.app.clone().oneshot(post));
        // The token is checked, and the body is waited for.
        assert!(answer.as_mut().now_or_never().is_none(), "{target}");
        answers.push((target, body, answer));
    }
    rig.revoke(subject("ann")).await;
    for (target, body, answer) in answers {
        // An ingest request ends although its body is open.
        let line = match target {
            "/events" => "{\"topic\":\"a\",\"data\":\"x\"}\n",
            "/.well-known/mercure" => "topic=a&data=x",
            _ => "x\n",
        };
        let is_ingest = target.contains("split");
        if !is_ingest {
            body.send(line).unwrap();
        }
        let held = is_ingest.then_some(body);
        assert_eq!(answer.await.unwrap().status(), 401, "{target}");
        drop(held);
    }
    assert_eq!(rig.hub.counts().published, 1, "the revocation alone");
}

#[tokio::test]
async fn a_long_poll_is_answered_when_its_token_is_revoked() {
    let rig = Rig::new();
    let ann = token(json!({"sub": "ann"}));
    let get = request("GET", "/events/a?format=json&wait=30s", &ann, "");
    let mut answer = Box::pin(rig.app.clone().oneshot(get));
    assert!(answer.as_mut().now_or_never().is_none());
    rig.revoke(subject("ann")).await;
    assert_eq!(answer.await.unwrap().status(), 401);
}

/// The token was verified before, and nothing of the stream is delivered yet.
#[tokio::test]
async fn a_stream_ends_whose_token_is_revoked_between_the_check_and_the_first_event() {
    let rig = Rig::new();
    let stream = rig.open("/events/a", &token(json!({"sub": "ann"}))).await;
    rig.revoke(subject("ann")).await;
    let text = text(stream).await;
    assert!(text.find("carafe.position").unwrap() < text.find("carafe.expired").unwrap(), "{text}");
}

#[tokio::test]
async fn a_token_that_is_issued_later_is_accepted_and_its_streams_stay_open() {
    let rig = Rig::new();
    let issued = |iat: Value| token(json!({"sub": "ann", "iat": iat}));
    rig.revoke(subject("ann").issued_before(UNIX_EPOCH + Duration::from_secs(1000))).await;
    for refused in [json!(999), json!(999.9), json!("2000"), json!(null), json!(-1)] {
        assert!(rig.refuses(&issued(refused.clone())).await, "{refused}");
    }
    assert!(rig.refuses(&token(json!({"sub": "ann"}))).await, "nobody knows when it was issued");
    let later = issued(json!(1000));
    assert!(!rig.refuses(&later).await);
    let stream = rig.open("/events/a", &later).await;
    rig.revoke(subject("bob")).await;
    rig.hub.close().await;
    assert!(!text(stream).await.contains("carafe.expired"));
}

/// `iat` has whole seconds, so that nobody knows which of the two came first.
#[tokio::test]
async fn a_token_that_was_issued_in_the_second_of_the_revocation_is_refused() {
    let rig = Rig::new();
    let before = now();
    rig.revoke(subject("ann")).await;
    let after = now();
    for issued in before..=after {
        assert!(rig.refuses(&token(json!({"sub": "ann", "iat": issued}))).await);
    }
    assert!(!rig.refuses(&token(json!({"sub": "ann", "iat": after + 1}))).await);
}

#[tokio::test]
async fn a_token_that_is_revoked_by_its_id_is_refused_whenever_it_was_issued() {
    let rig = Rig::new();
    let of = |id: &str| token(json!({"sub": "ann", "jti": id, "iat": now() + 100}));
    rig.revoke(Revocation::of_token("1")).await;
    assert!(rig.refuses(&of("1")).await && !rig.refuses(&of("2")).await);
    let subject_of_that_name = token(json!({"sub": "1"}));
    assert!(!rig.refuses(&subject_of_that_name).await);
}

#[tokio::test]
async fn a_revocation_with_an_issuer_concerns_only_its_tokens() {
    let rig = Rig::new();
    let of = |issuer: &str| token(json!({"sub": "ann", "iss": issuer}));
    rig.revoke(subject("ann").with_issuer("one")).await;
    assert!(rig.refuses(&of("one")).await && !rig.refuses(&of("two")).await);
    assert!(!rig.refuses(&token(json!({"sub": "ann"}))).await);
    rig.revoke(subject("ann")).await;
    assert!(rig.refuses(&of("two")).await && rig.refuses(&token(json!({"sub": "ann"}))).await);
    assert!(rig.refuses(&signed(OTHER, json!({"sub": "ann"}))).await, "of another key");
}

#[tokio::test]
async fn tokens_of_mercure_are_revoked_too_and_those_without_an_end() {
    let rig = Rig::new();
    let token = {
        let claims = json!({"sub": "ann", "mercure": {"publish": ["*"], "subscribe": ["*"]}});
        Signer::secret(MERCURE).unwrap().sign(&claims).unwrap()
    };
    let target = "/.well-known/mercure?topic=a";
    let update = || {
        let mut update = request("POST", "/.well-known/mercure", &token, "topic=a&data=x");
        let form = "application/x-www-form-urlencoded".parse().unwrap();
        update.headers_mut().insert("content-type", form);
        update
    };
    let stream = rig.open(target, &token).await;
    assert_eq!(stream.status(), 200);
    assert_eq!(rig.ask(update()).await.status(), 200);
    rig.revoke(subject("ann")).await;
    text(stream).await;
    assert_eq!(rig.open(target, &token).await.status(), 401);
    assert_eq!(rig.ask(update()).await.status(), 401);
    assert!(rig.revocations.lift(&subject("ann")).await.unwrap());
    assert_eq!(rig.open(target, &token).await.status(), 200);
}

#[tokio::test]
async fn users_of_the_app_are_revoked_by_their_identity() {
    let Rig { app, revocations, .. } = Rig::new();
    let as_user = |rights: Rights| app.clone().layer(Extension(rights));
    let ann = Rights::all().with_identity("ann");
    let get = || Request::get("/events/a").body(Body::empty()).unwrap();
    let stream = as_user(ann.clone()).oneshot(get()).await.unwrap();
    revocations.revoke(&subject("ann")).await.unwrap();
    ends_expired(stream).await;
    for target in ["/events/a", "/.well-known/mercure?topic=a"] {
        let request = Request::get(target).body(Body::empty()).unwrap();
        let refused = as_user(ann.clone()).oneshot(request).await.unwrap();
        assert_eq!(refused.status(), 403, "{target}");
    }
    let again = ann.with_issued(SystemTime::now() + Duration::from_secs(2));
    assert_eq!(as_user(again).oneshot(get()).await.unwrap().status(), 200);
    let nobody = as_user(Rights::all()).oneshot(get()).await.unwrap();
    assert_eq!(nobody.status(), 200);
}

#[tokio::test]
async fn a_revocation_that_another_node_has_stored_is_in_force_here() {
    let log = MemoryLog::default();
    let rig = Rig::on(Hub::new(log.clone()), Options::default());
    let ann = token(json!({"sub": "ann"}));
    let stream = rig.open("/events/a", &ann).await;
    let data = json!({"subject": "ann", "issued_before": now() + 1, "until": null, "changed": 1});
    let topic = Topic::new("carafe/revocations").unwrap();
    let note = Publication::new(topic, data.to_string()).with_private(true).with_hub(true);
    let tail = log.span().tail;
    let position = Position { offset: tail.offset + 5, ..tail };
    let entry = Entry { position, time: log.clock().now(), publication: note };
    log.append_at(vec![entry]).await.unwrap();
    ends_expired(stream).await;
    assert!(rig.refuses(&ann).await);
    assert_eq!(rig.revocations.list().await.unwrap()[0].position(), position);
}

/// As after a restart, for a log that keeps its entries.
#[tokio::test]
async fn revocations_are_read_from_the_log_before_the_first_token_is_checked() {
    let hub = Hub::new(MemoryLog::default());
    let first = Rig::on(hub.clone(), Options::default());
    first.revoke(subject("ann")).await;
    first.revoke(subject("bob")).await;
    first.revocations.lift(&subject("bob")).await.unwrap();
    let second = Rig::on(hub, Options::default());
    assert!(second.refuses(&token(json!({"sub": "ann"}))).await);
    assert!(!second.refuses(&token(json!({"sub": "bob"}))).await);
    // Each follows what the other does from here on.
    second.revoke(subject("bob")).await;
    assert!(first.refuses(&token(json!({"sub": "bob"}))).await);
}

#[tokio::test]
async fn an_entry_that_is_no_revocation_of_this_version_is_skipped() {
    let hub = Hub::new(MemoryLog::default());
    let topic = Topic::new("carafe/revocations").unwrap();
    for data in ["", "{}", r#"{"subject":1}"#, r#"{"device":"x","issued_before":1,"changed":1}"#] {
        let note = Publication::new(topic.clone(), data).with_private(true).with_hub(true);
        hub.publish(note).await.unwrap();
    }
    let rig = Rig::on(hub, Options::default());
    rig.revoke(subject("ann")).await;
    assert_eq!(rig.revocations.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn only_so_many_revocations_are_in_force() {
    let mut limits = RevocationLimits::default();
    limits.most = 2;
    let mut options = Options::default();
    options.revocations = Revocations::new(limits);
    let rig = Rig::with(options);
    rig.revoke(subject("ann")).await;
    rig.revoke(subject("bob")).await;
    let refused = rig.revocations.revoke(&subject("eve")).await;
    assert_eq!(refused, Err(RevokeError::TooMany { limit: 2 }));
    let answer = revoke(&rig, &admin(), &json!({"subject": "eve"})).await;
    assert_eq!(answer.0, 503);
    let detail = answer.1["detail"].as_str().unwrap();
    assert!(detail.ends_with("or raise --revocations"), "{detail}");
    let earlier = subject("ann").issued_before(UNIX_EPOCH);
    assert!(!rig.revoke(earlier).await, "it is in force already");
    rig.revocations.lift(&subject("ann")).await.unwrap();
    assert!(rig.revoke(subject("eve")).await);
}

#[tokio::test]
async fn tokens_that_live_longer_than_any_may_are_rejected() {
    let mut limits = RevocationLimits::default();
    limits.token_life = Some(Duration::from_secs(3600));
    let mut options = Options::default();
    options.revocations = Revocations::new(limits);
    let rig = Rig::with(options);
    let lives = |from: u64, to: u64| token(json!({"sub": "ann", "iat": from, "exp": to}));
    assert!(!rig.refuses(&lives(now(), now() + 3600)).await);
    assert!(!rig.refuses(&lives(now() - 3000, now() + 600)).await);
    assert!(rig.refuses(&lives(now(), now() + 3601)).await);
    // It ends soon, but a revocation that was made at its beginning has ended.
    assert!(rig.refuses(&lives(now() - 86_400, now() + 60)).await);
    assert!(rig.refuses(&lives(now() + 60, now() + 3600)).await, "issued in the future");
    assert!(rig.refuses(&token(json!({"sub": "ann", "exp": now() + 60}))).await, "issued when?");
    let (_, revoked) = rig.revocations.revoke(&subject("ann")).await.unwrap();
    let until = revoked.until().unwrap().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!((now() + 3600..now() + 3620).contains(&until), "{until}");
}

/// As a node does whose clock is behind that of the cluster.
#[tokio::test]
async fn a_revocation_has_the_time_of_the_log_if_the_clock_of_the_machine_is_behind_it() {
    struct Ahead(SystemTime);

    impl TimeSource for Ahead {
        fn wall(&self) -> SystemTime {
            self.0
        }

        fn steady(&self) -> Duration {
            Duration::ZERO
        }
    }

    let hour = Duration::from_secs(3600);
    let clock = Clock::on(Arc::new(Ahead(SystemTime::now() + hour)));
    let rig = Rig::on(Hub::new(MemoryLog::default().with_clock(clock)), Options::default());
    let revocation = subject("ann").lasting(hour);
    let (_, revoked) = rig.revocations.revoke(&revocation).await.unwrap();
    assert!(revoked.issued_before() > SystemTime::now() + hour / 2);
    assert!(revoked.until().unwrap() > SystemTime::now() + hour + hour / 2);
    assert!(rig.refuses(&token(json!({"sub": "ann", "iat": now() + 1800}))).await);
}

fn admin() -> String {
    token(json!({"revoke": true, "publish": [], "subscribe": []}))
}

async fn revoke(rig: &Rig, token: &str, body: &Value) -> (u16, Value) {
    let mut request = request("POST", "/revocations", token, "");
    request.headers_mut().insert("content-type", "application/json".parse().unwrap());
    *request.body_mut() = body.to_string().into();
    answer(rig, request).await
}

async fn answer(rig: &Rig, request: Request<Body>) -> (u16, Value) {
    let response = rig.ask(request).await;
    let status = response.status().as_u16();
    (status, serde_json::from_str(&text(response).await).unwrap_or_default())
}

#[tokio::test]
async fn a_client_with_the_right_revokes_lists_and_lifts() {
    let (rig, admin) = (Rig::new(), admin());
    let ann = token(json!({"sub": "ann", "iss": "one"}));
    let body = json!({"subject": "ann", "issuer": "one", "issued_before": now() + 1, "for": 600});
    let (status, first) = revoke(&rig, &admin, &body).await;
    assert_eq!((status, &first["subject"], &first["issuer"]), (201, &"ann".into(), &"one".into()));
    assert_eq!(first["issued_before"], body["issued_before"]);
    let until = first["until"].as_u64().unwrap();
    assert!((now() + 600..=now() + 602).contains(&until), "{first}");
    let mut shorter = body.clone();
    shorter["for"] = json!(60);
    assert_eq!(revoke(&rig, &admin, &shorter).await, (200, first.clone()), "nothing is stored");
    assert!(rig.refuses(&ann).await);
    let (status, second) = revoke(&rig, &admin, &json!({"token_id": "7"})).await;
    assert_eq!((status, &second["until"]), (201, &Value::Null));
    let (_, list) = answer(&rig, request("GET", "/revocations", &admin, "")).await;
    assert_eq!(list, json!({"revocations": [first, second]}));
    let target = "/revocations?subject=ann&issuer=one";
    assert_eq!(answer(&rig, request("DELETE", target, &admin, "")).await.0, 204);
    assert_eq!(answer(&rig, request("DELETE", target, &admin, "")).await.0, 404);
    assert!(!rig.refuses(&ann).await);
}

#[tokio::test]
async fn a_longer_revocation_extends_one_that_is_in_force_and_never_shortens_it() {
    let (rig, admin) = (Rig::new(), admin());
    let until = async |body: Value| revoke(&rig, &admin, &body).await.1["until"].clone();
    let first = until(json!({"subject": "ann", "for": 60})).await;
    let longer = until(json!({"subject": "ann", "for": 600})).await;
    assert!(longer.as_u64() > first.as_u64());
    assert_eq!(until(json!({"subject": "ann", "for": 6})).await, longer);
    let longest = until(json!({"subject": "ann", "for": u64::MAX})).await;
    assert_eq!(longest, json!(u64::MAX), "a time that is never reached");
    assert_eq!(until(json!({"subject": "ann"})).await, Value::Null);
    assert_eq!(until(json!({"subject": "ann", "for": 600})).await, Value::Null);
    assert_eq!(rig.revocations.list().await.unwrap().len(), 1);
}

/// What the endpoint refuses: method, token, content type, body, status.
#[tokio::test]
async fn requests_that_revoke_nothing_are_refused() {
    let rig = Rig::new();
    let (admin, ann, json) = (admin(), token(json!({"sub": "ann"})), "application/json");
    let long = json!({"subject": "x".repeat(1025)}).to_string();
    let huge = "x".repeat(20_000);
    for (method, token, content_type, body, status) in [
        ("POST", "", json, r#"{"subject":"x"}"#, 401),
        ("GET", "", "", "", 401),
        ("DELETE", "", "", "", 401),
        ("POST", &*ann, json, r#"{"subject":"x"}"#, 403),
        ("GET", &ann, "", "", 403),
        ("DELETE", &ann, "", "", 403),
        ("PUT", &admin, json, r#"{"subject":"x"}"#, 405),
        ("POST", &admin, "text/plain", r#"{"subject":"x"}"#, 415),
        ("POST", &admin, "", r#"{"subject":"x"}"#, 415),
        ("POST", &admin, json, "", 400),
        ("POST", &admin, json, "{}", 400),
        ("POST", &admin, json, r#"{"subject":"x","token_id":"y"}"#, 400),
        ("POST", &admin, json, r#"{"subject":"x","until":7}"#, 400),
        ("POST", &admin, json, r#"{"subject":"x","for":0}"#, 400),
        ("POST", &admin, json, r#"{"subject":"x","for":"8h"}"#, 400),
        ("POST", &admin, json, r#"{"subject":"x","for":-1}"#, 400),
        ("POST", &admin, json, r#"{"subject":"x","issued_before":18446744073709551615}"#, 400),
        ("POST", &admin, json, r#"{"subject":""}"#, 400),
        ("POST", &admin, json, r#"{"subject":"x","issuer":""}"#, 400),
        ("POST", &admin, json, &long, 400),
        ("POST", &admin, json, &huge, 413),
        ("DELETE", &admin, "", "", 400),
    ] {
        let mut request = Request::builder().method(method).uri("/revocations");
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.header("content-type", content_type).body(body.to_owned().into());
        let response = rig.ask(request.unwrap()).await;
        assert_eq!(response.status(), status, "{method} {content_type} {body:.60}");
        let problem = response.headers()["content-type"] == "application/problem+json";
        assert!(problem, "{method} {body:.60}");
    }
    assert!(rig.revocations.list().await.unwrap().is_empty());
    assert!(!rig.refuses(&ann).await);
}

#[tokio::test]
async fn nobody_publishes_or_subscribes_to_the_topic_of_revocations() {
    let rig = Rig::with({
        let mut options = Options::default();
        options.anonymous = Rights::all();
        options
    });
    let all = token(json!({"publish": ["*", "carafe/*"], "subscribe": ["carafe/revocations"]}));
    let forged = json!({"subject": "ann", "issued_before": 9_999_999_999_u64, "changed": 1});
    for target in ["/events/carafe/revocations", "/events/a?topic=carafe/revocations"] {
        let mut post = request("POST", target, &all, "");
        *post.body_mut() = forged.to_string().into();
        assert_eq!(rig.ask(post).await.status(), 403, "{target}");
    }
    let line = json!({"topic": "carafe/revocations", "data": forged.to_string()});
    let mut batch = request("POST", "/events", &all, "");
    batch.headers_mut().insert("content-type", "application/x-ndjson".parse().unwrap());
    *batch.body_mut() = line.to_string().into();
    assert_eq!(rig.ask(batch).await.status(), 403);
    let form = "application/x-www-form-urlencoded".parse().unwrap();
    let mut update = request("POST", "/.well-known/mercure", "", "");
    update.headers_mut().remove("authorization");
    update.headers_mut().insert("content-type", form);
    *update.body_mut() = "topic=carafe/revocations&data=x".into();
    assert_eq!(rig.ask(update).await.status(), 401);
    for target in ["/events/carafe/revocations", "/events/a?topic=carafe/revocations"] {
        assert_eq!(rig.open(target, &all).await.status(), 403, "{target}");
    }
    assert!(rig.revocations.list().await.unwrap().is_empty());
    assert!(!rig.refuses(&token(json!({"sub": "ann"}))).await);
    let grant = Grant::all();
    assert!(!grant.covers(&Topic::new("carafe/revocations").unwrap()));
}

#[tokio::test]
async fn subscribers_that_may_see_everything_do_not_see_revocations() {
    let rig = Rig::new();
    rig.revoke(subject("ann")).await;
    let all = token(json!({}));
    let page = text(rig.open("/events?format=json", &all).await).await;
    assert!(page.contains("\"events\":[]"), "{page}");
    let targets = ["/events", "/events?earliest", "/events?last=9", "/.well-known/mercure?topic=*"];
    let mut streams = Vec::new();
    for target in targets {
        streams.push((target, rig.open(target, &all).await));
    }
    rig.revoke(subject("bob")).await;
    rig.hub.close().await;
    for (target, stream) in streams {
        let text = text(stream).await;
        assert!(!text.contains("ann") && !text.contains("bob"), "{target}: {text}");
    }
}
