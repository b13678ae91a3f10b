//! Topics that end, are stopped and are reopened over HTTP, before and after the hub is killed.

use std::net::SocketAddr;
use std::path::Path;

use carafe_http::auth::Signer;
use serde_json::{Value, json};

use crate::http::{Answer, Stream, get, post, publish, request};
use crate::metrics::Metrics;
use crate::process::{Process, Server, carafe};

const SECRET: &str = "a secret of more than thirty-two bytes";

fn head(address: SocketAddr, target: &str) -> Answer {
    request(address, "HEAD", target, &[], b"")
}

/// The types and the data of all events until the stream ends.
fn all_of(address: SocketAddr, target: &str) -> Vec<(String, String)> {
    let events = Stream::open(address, target, &[]);
    events.map(|event| (event.event_type, event.data)).collect()
}

fn types(events: &[(String, String)]) -> Vec<&str> {
    events.iter().map(|(event_type, _)| &**event_type).collect()
}

/// The topic has ended, as a publisher is told.
#[track_caller]
fn is_refused(answer: &Answer, outcome: &str, position: &str) {
    assert_eq!(answer.status, 409, "{}{}", answer.head, answer.body);
    let problem = answer.json();
    assert_eq!(problem["type"], "urn:carafe:problem:topic-ended");
    assert_eq!((&problem["outcome"], &problem["position"]), (&json!(outcome), &json!(position)));
    assert!(problem["detail"].as_str().unwrap().contains("reopen it"), "{problem}");
}

/// Hubs in memory and on a disk.
fn hubs(folder: &Path) -> [Server; 2] {
    [Server::dev(), Server::dev_on_disk(folder)]
}

#[test]
fn an_end_closes_the_streams_of_its_topic_and_refuses_what_follows() {
    let folder = tempfile::tempdir().unwrap();
    for hub in hubs(folder.path()) {
        let at = hub.address;
        let live = Stream::open(at, "/events/jobs/7", &[]);
        publish(at, "/events/jobs/7", "first");
        let answer = post(at, "/events/jobs/7?end=done&event=result", "last");
        assert_eq!(answer.status, 201, "{}", answer.body);
        let end = answer.json()["id"].as_str().unwrap().to_owned();
        let received: Vec<_> = live.collect();
        let names: Vec<_> = received.iter().map(|event| &*event.event_type).collect();
        assert_eq!(names, ["carafe.position", "message", "result", "carafe.end"]);
        let expected = json!({
            "topic": "jobs/7", "outcome": "done", "reason": null, "position": end,
        });
        assert_eq!(serde_json::from_str::<Value>(&received[3].data).unwrap(), expected);
        assert_eq!(received[3].last_event_id, end);

        is_refused(&post(at, "/events/jobs/7", "late"), "done", &end);
        is_refused(&post(at, "/events/jobs/7?end=failed", ""), "done", &end);
        is_refused(&post(at, "/events/jobs/7?stop", ""), "done", &end);
        is_refused(&post(at, "/events/other?topic=jobs/7", "late"), "done", &end);
        let again = post(at, "/events/jobs/7?end=done", "");
        assert_eq!((again.status, &again.json()["id"]), (200, &json!(end)));
        let line = "{\"topic\":\"jobs/7\",\"data\":\"late\"}";
        let batch = request(
            at,
            "POST",
            "/events",
            &["Content-Type: application/x-ndjson"],
            line.as_bytes(),
        );
        is_refused(&batch, "done", &end);
    }
}

#[test]
fn a_client_that_knows_the_end_is_told_to_stay_away() {
    let hub = Server::dev();
    let at = hub.address;
    let first = publish(at, "/events/a", "first");
    let end = publish(at, "/events/a?end=cancelled&reason=by%20hand", "");
    let later = publish(at, "/events/b", "later");
    for id in [&end, &later] {
        let answer = request(at, "GET", "/events/a", &[&format!("Last-Event-ID: {id}")], b"");
        assert_eq!((answer.status, &*answer.body), (204, ""));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let rest = all_of(at, &format!("/events/a?last_event_id={first}"));
    assert_eq!(types(&rest), ["carafe.position", "carafe.end"]);
    let expected = ["carafe.position", "message", "carafe.end"];
    assert_eq!(types(&all_of(at, "/events/a?earliest")), expected);
    assert_eq!(types(&all_of(at, "/events/a")), ["carafe.position", "carafe.end"]);
    let data: Value = serde_json::from_str(&rest[1].1).unwrap();
    assert_eq!((&data["outcome"], &data["reason"]), (&json!("cancelled"), &json!("by hand")));
    // With another topic, there may be something to come.
    let mut both = Stream::open(at, &format!("/events?topic=a&topic=b&last_event_id={end}"), &[]);
    assert_eq!(both.data(1), ["later"]);
}

#[test]
fn a_reopened_topic_has_another_life() {
    let hub = Server::dev();
    let at = hub.address;
    publish(at, "/events/a?end=done", "first");
    publish(at, "/events/a?reopen", "again");
    publish(at, "/events/a", "more");
    let end = publish(at, "/events/a?end=failed", "");
    is_refused(&post(at, "/events/a", "late"), "failed", &end);
    let end = publish(at, "/events/a?reopen&end=done", "a life of one event");
    is_refused(&post(at, "/events/a", "late"), "done", &end);
    let (message, ended) = ("message", "carafe.end");
    let expected = ["carafe.position", message, ended, message, message, ended, message, ended];
    assert_eq!(types(&all_of(at, "/events/a?earliest")), expected);
}

#[test]
fn a_stop_reaches_the_producer_wherever_it_looks() {
    let hub = Server::dev();
    let at = hub.address;
    let mut producer = Stream::open(at, "/events/a", &[]);
    assert_eq!(head(at, "/events/a").header("carafe-stop"), None);
    let answer = post(at, "/events/a?stop&reason=enough", "");
    assert_eq!(answer.status, 201, "{}", answer.body);
    let stop = answer.json()["id"].as_str().unwrap().to_owned();
    let told = producer.find(|event| event.event_type == "carafe.stop").unwrap();
    let expected = json!({"topic": "a", "reason": "enough", "position": stop});
    assert_eq!(serde_json::from_str::<Value>(&told.data).unwrap(), expected);
    let again = post(at, "/events/a?stop", "");
    assert_eq!((again.status, &again.json()["id"]), (200, &json!(stop)));
    assert_eq!(head(at, "/events/a").header("carafe-stop"), Some(&*stop));
    assert_eq!(head(at, "/events?topic=b&topic=a").header("carafe-stop"), Some(&*stop));
    let answer = post(at, "/events/a", "one more");
    assert_eq!((answer.status, answer.header("carafe-stop")), (201, Some(&*stop)));
    assert_eq!(post(at, "/events/b", "other").header("carafe-stop"), None);
    let answer = post(at, "/events/a?end=cancelled", "");
    assert_eq!((answer.status, answer.header("carafe-stop")), (201, None));
    assert_eq!(head(at, "/events/a").header("carafe-stop"), None);
}

#[test]
fn ends_and_stops_survive_that_the_hub_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let start = || Server::on_disk(folder.path(), &["--segment-bytes", "4KiB"]);
    let hub = start();
    let ends: Vec<_> = (0..60)
        .map(|number| {
            let data = "x".repeat(300);
            publish(hub.address, &format!("/events/jobs/{number}"), &data);
            publish(hub.address, &format!("/events/jobs/{number}?end=done"), "last")
        })
        .collect();
    hub.kill();
    let hub = start();
    for (number, end) in ends.iter().enumerate() {
        let target = format!("/events/jobs/{number}");
        is_refused(&post(hub.address, &target, "late"), "done", end);
        let id = format!("Last-Event-ID: {end}");
        assert_eq!(request(hub.address, "GET", &target, &[&id], b"").status, 204);
    }
    let told = all_of(hub.address, "/events/jobs/30?earliest");
    assert_eq!(types(&told), ["carafe.position", "message", "message", "carafe.end"]);
    hub.kill();
    let hub = start();
    is_refused(&post(hub.address, "/events/jobs/59", "late"), "done", &ends[59]);
}

/// The end is the newest of the topic: it outlives its events.
#[test]
fn the_end_is_told_after_the_events_of_its_topic_were_trimmed() {
    let folder = tempfile::tempdir().unwrap();
    let kept = ["--history-events", "300"];
    for hub in [Server::start(&kept), Server::on_disk(folder.path(), &kept)] {
        let at = hub.address;
        let first = publish(at, "/events/a", "first");
        // On the disk, the end gets into another segment, which is trimmed later.
        for number in 0..280 {
            publish(at, "/events/filler", &number.to_string());
        }
        let end = publish(at, "/events/a?end=done", "");
        let id = format!("Last-Event-ID: {first}");
        let has_gap = || {
            let mut stream = Stream::open(at, "/events/a", &[&id]);
            stream.next().unwrap().event_type == "carafe.gap"
        };
        while !has_gap() {
            publish(at, "/events/filler", "until the first event is gone");
        }
        let events: Vec<_> = Stream::open(at, "/events/a", &[&id]).collect();
        assert_eq!(events.last().unwrap().event_type, "carafe.end", "{events:?}");
        is_refused(&post(at, "/events/a", "late"), "done", &end);
        while post(at, "/events/a", "until the end is gone").status == 409 {
            publish(at, "/events/filler", "more");
        }
        assert_eq!(get(at, "/healthz").status, 200);
    }
}

/// A hub in memory that trusts the secret in this file.
fn guarded(secret: &Path, options: &[&str]) -> Server {
    let mut command = carafe();
    command.args(["serve", "--log", "memory:", "--listen", "127.0.0.1:0", "--secret-file"]);
    Server::of(Process::start(command.arg(secret).args(options)))
}

fn with_token(claims: &Value) -> String {
    let mut claims = claims.clone();
    claims["exp"] = json!(4_000_000_000_u64);
    let token = Signer::secret(SECRET.as_bytes()).unwrap().sign(&claims).unwrap();
    format!("Authorization: Bearer {token}")
}

#[test]
fn each_of_them_needs_its_own_right() {
    let hub = Server::start(&["--anonymous", "subscribe,publish"]);
    for target in ["/events/a?stop", "/events/a?reopen"] {
        let answer = post(hub.address, target, "");
        assert_eq!(answer.status, 403, "clients without a token: {target} {}", answer.body);
    }
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let hub = guarded(&secret, &[]);
    let post = |claims: Value, target: &str, body: &str| {
        request(hub.address, "POST", target, &[&with_token(&claims)], body.as_bytes()).status
    };
    let publish = json!({"publish": ["a"]});
    let stop = json!({"stop": ["a"]});
    let both = json!({"publish": ["*"], "reopen": ["a"]});
    for (claims, target, body, status) in [
        (&stop, "/events/a?stop", "", 201),
        (&stop, "/events/b?stop", "", 403),
        (&stop, "/events/a", "event", 403),
        (&stop, "/events/a?end=done", "", 403),
        (&publish, "/events/a?stop", "", 403),
        (&publish, "/events/b?end=done", "", 403),
        (&publish, "/events/a?end=done", "", 201),
        (&publish, "/events/a?reopen", "event", 403),
        (&json!({"reopen": ["a"]}), "/events/a?reopen", "event", 403),
        (&both, "/events/b?reopen", "event", 403),
        (&both, "/events/a?reopen&topic=b", "event", 403),
        (&both, "/events/a?reopen", "event", 201),
        (&json!({}), "/events/a?stop", "", 403),
    ] {
        assert_eq!(post(claims.clone(), target, body), status, "{claims} {target}");
    }
    let stopped = |claims: Value| {
        let answer = request(hub.address, "HEAD", "/events/c", &[&with_token(&claims)], b"");
        assert_eq!(answer.status, 200, "{}", answer.head);
        answer.header("carafe-stop").is_some()
    };
    assert_eq!(post(json!({"stop": ["c"]}), "/events/c?stop&private", ""), 201);
    assert!(stopped(json!({"publish": ["c"]})));
    assert!(!stopped(json!({"subscribe": ["c"]})), "a reader is not the producer");
}

#[test]
fn carafe_token_grants_stopping_and_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let hub = guarded(&secret, &[]);
    let options = ["token", "--stop", "a", "--reopen", "a", "--publish", "a", "--secret-file"];
    let printed = carafe().args(options).arg(&secret).output().unwrap();
    let token = String::from_utf8(printed.stdout).unwrap();
    let bearer = format!("Authorization: Bearer {}", token.trim());
    for (target, body) in
        [("/events/a?stop", ""), ("/events/a?end=done", ""), ("/events/a?reopen", "again")]
    {
        let answer = request(hub.address, "POST", target, &[&bearer], body.as_bytes());
        assert_eq!(answer.status, 201, "{target}: {}", answer.body);
    }
}

#[test]
fn a_private_end_is_told_to_those_who_may_see_private_events() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let hub = guarded(&secret, &["--anonymous", "subscribe"]);
    let at = hub.address;
    let mut stranger = Stream::open(at, "/events/a", &[]);
    let producer = with_token(&json!({"publish": ["*"]}));
    let answer = request(at, "POST", "/events/a?end=done&private", &[&producer], b"");
    assert_eq!(answer.status, 201);
    let friend = with_token(&json!({"subscribe": ["a"]}));
    let told: Vec<_> = Stream::open(at, "/events/a", &[&friend]).collect();
    assert_eq!(told.last().unwrap().event_type, "carafe.end");
    request(at, "POST", "/events/b", &[&producer], b"other");
    let mut late = Stream::open(at, "/events?topic=a&topic=b&earliest", &[]);
    assert_eq!(late.data(1), ["other"]);
    let position = stranger.next().unwrap();
    assert_eq!(position.event_type, "carafe.position");
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let hub = Server::dev();
    let long = format!("end=done&reason={}", "x".repeat(1025));
    for (query, body, what) in [
        ("end", "", "end=cancelled"),
        ("end=finished", "", "end=cancelled"),
        ("end=done&end=failed", "", "more than once"),
        ("end=done&stop", "", "exclude each other"),
        ("stop&reopen", "", "exclude each other"),
        ("stop=maybe", "", "`stop` is a switch"),
        ("reopen=7", "x", "`reopen` is a switch"),
        ("reason=why", "x", "`reason` is for"),
        (&long, "", "1024 bytes"),
        ("end=done&topic=b", "", "`end` is for one topic"),
        ("stop&topic=b", "", "`stop` is for one topic"),
        ("stop", "body", "has no body"),
        ("stop&event=x", "", "`event` is for events"),
        ("stop&id=x", "", "`id` is for events"),
        ("stop&retry=7", "", "`retry` is for events"),
        ("end=done&reopen", "", "`reopen` needs an event"),
        ("end=done&event=x", "", "need an event"),
        ("end=done&retry=7", "", "need an event"),
        ("ned=done", "x", "did you mean `end`"),
        ("reopn", "x", "did you mean `reopen`"),
    ] {
        let answer = post(hub.address, &format!("/events/a?{query}"), body);
        assert_eq!(answer.status, 400, "{query}: {}", answer.body);
        let problem = answer.json();
        assert_eq!(problem["type"], "urn:carafe:problem:bad-parameter", "{query}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(what), "{query}: {detail}");
    }
    assert_eq!(post(hub.address, "/events?stop", "").status, 415, "no topic is named");
    assert_eq!(get(hub.address, "/events/a?earliest&format=json").status, 200);
    let json = get(hub.address, "/events/a?format=json").json();
    assert_eq!(json["events"], json!([]), "nothing of all that was stored");
}

#[test]
fn the_limit_of_ended_topics_says_what_to_do_and_is_counted() {
    let (hub, metrics): (Server, Metrics) = Server::with_metrics(&["--ended-topics", "2"]);
    let at = hub.address;
    publish(at, "/events/a?end=done", "");
    publish(at, "/events/b?end=done", "last");
    let answer = post(at, "/events/c?end=done", "not stored either");
    assert_eq!(answer.status, 503, "{}", answer.body);
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.ends_with("or raise --ended-topics"), "{detail}");
    assert!(answer.header("retry-after").is_some());
    assert!((metrics.limited("ended-topics") - 1.0).abs() < 0.1);
    publish(at, "/events/c", "events are not limited");
}
