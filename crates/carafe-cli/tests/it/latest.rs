//! `?latest`: the newest event of each topic, over HTTP and by the command.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cli::run;
use crate::durable::log;
use crate::http::{Stream, get, post, publish, request};
use crate::limits::reconnect_delay;
use crate::process::Server;

/// Hubs in memory and on disk.
fn hubs(options: &[&str], check: impl Fn(&Server)) {
    check(&Server::start(options));
    let (_folder, path) = log();
    check(&Server::on_disk(&path, options));
}

fn open(hub: &Server, target: &str) -> Stream {
    Stream::open(hub.address, target, &[])
}

/// Publishes so many topics, each several times.
fn fill(hub: &Server, topics: usize) {
    for round in 0..3 {
        let line =
            |number| format!("{{\"topic\":\"state/{number}\",\"data\":\"{round}/{number}\"}}\n");
        let lines: String = (0..topics).map(line).collect();
        let ndjson = ["Content-Type: application/x-ndjson"];
        let answer = request(hub.address, "POST", "/events", &ndjson, lines.as_bytes());
        assert_eq!(answer.status, 201, "{}", answer.body);
    }
}

fn newest(topics: usize) -> impl Iterator<Item = String> {
    (0..topics).map(|number| format!("2/{number}"))
}

#[test]
fn a_snapshot_is_followed_by_the_position_and_by_new_events() {
    hubs(&[], |hub| {
        for (topic, data) in [("lamp", "on"), ("door", "open"), ("lamp", "off"), ("other", "x")] {
            publish(hub.address, &format!("/events/{topic}"), data);
        }
        let mut stream = open(hub, "/events?topic=lamp&topic=door&topic=none&latest");
        let events: Vec<_> = (0..3).map(|_| stream.next().unwrap()).collect();
        let data: Vec<_> = events.iter().map(|event| event.data.as_str()).collect();
        assert_eq!(data[..2], ["open", "off"]);
        assert_eq!(events[2].event_type, "carafe.position");
        publish(hub.address, "/events/lamp", "on again");
        assert_eq!(stream.data(1), ["on again"]);
        let after = format!("Last-Event-ID: {}", events[0].last_event_id);
        let mut resumed =
            Stream::open(hub.address, "/events?topic=lamp&topic=door&latest", &[&after]);
        assert_eq!(resumed.data(2), ["off", "on again"], "all events after the ID");
    });
}

#[test]
fn many_topics_are_one_snapshot() {
    hubs(&[], |hub| {
        fill(hub, 2000);
        let mut stream = open(hub, "/events?pattern=state/*&latest");
        assert!(stream.data(2000).into_iter().eq(newest(2000)));
        publish(hub.address, "/events/state/0", "live");
        assert_eq!(stream.data(1), ["live"]);
    });
}

#[test]
fn a_private_event_is_no_value_for_those_who_may_not_see_it() {
    hubs(&[], |hub| {
        publish(hub.address, "/events/a", "public");
        post(hub.address, "/events/a?private", "secret");
        post(hub.address, "/events/b?private", "secret");
        assert_eq!(open(hub, "/events?latest").data(1), ["public"]);
        let page = get(hub.address, "/events?latest&format=json").json();
        assert_eq!(page["events"].as_array().unwrap().len(), 1);
    });
}

#[test]
fn the_last_events_of_several_topics_are_those_of_each() {
    hubs(&[], |hub| {
        for data in ["1", "2", "3"] {
            publish(hub.address, "/events/a", data);
        }
        publish(hub.address, "/events/b", "b");
        assert_eq!(open(hub, "/events?topic=a&topic=b&last=1").data(2), ["3", "b"]);
        assert_eq!(open(hub, "/events?topic=a&topic=b&last=2").data(3), ["2", "3", "b"]);
        assert_eq!(open(hub, "/events?topic=a&pattern=b&last=2").data(2), ["3", "b"]);
    });
}

#[test]
fn a_snapshot_is_read_in_pages_that_no_cache_keeps() {
    hubs(&[], |hub| {
        fill(hub, 250);
        let (mut values, mut next, mut pages) = (BTreeMap::new(), String::new(), 0);
        loop {
            let target = format!("/events?pattern=state/*&latest&format=json{next}");
            let answer = get(hub.address, &target);
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            let page = answer.json();
            for event in page["events"].as_array().unwrap() {
                values.insert(event["topic"].to_string(), event["data"].to_string());
            }
            pages += 1;
            if pages == 1 {
                publish(hub.address, "/events/state/0", "changed");
            }
            if page["up_to_date"] == json!(true) {
                break;
            }
            next = format!("&last_event_id={}", page["next"].as_str().unwrap());
        }
        assert_eq!((values.len(), pages), (250, 3));
        assert_eq!(values["\"state/0\""], "\"changed\"", "the value of the last page holds");
    });
}

#[test]
fn a_snapshot_that_is_too_large_is_refused_with_its_limit() {
    hubs(&["--latest-events", "2"], |hub| {
        for topic in ["a", "b", "c"] {
            publish(hub.address, &format!("/events/{topic}"), "");
        }
        for target in ["/events?latest", "/events?latest&format=json"] {
            let answer = get(hub.address, target);
            assert_eq!(answer.status, 400, "{}", answer.body);
            let problem = answer.json();
            assert_eq!(problem["type"], "urn:carafe:problem:too-many-latest");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.ends_with("or raise --latest-events"), "{detail}");
        }
        assert_eq!(open(hub, "/events?topic=a&topic=b&latest").data(2), ["", ""]);
    });
}

#[test]
fn the_memory_of_snapshots_is_limited() {
    let (hub, metrics) = Server::with_metrics(&["--snapshot-bytes", "15"]);
    publish(hub.address, "/events/a", "x");
    assert!(reconnect_delay(&get(hub.address, "/events?latest")) > 0);
    let page = get(hub.address, "/events?latest&format=json");
    assert_eq!(page.status, 503, "{}", page.body);
    assert!(page.header("retry-after").is_some());
    assert_eq!(metrics.limited("snapshot-bytes"), 2.0);
}

#[test]
fn one_of_the_starts_has_to_be_chosen() {
    let hub = Server::start(&[]);
    for target in ["/events/a?latest&earliest", "/events/a?latest&last=1"] {
        let answer = get(hub.address, target);
        assert_eq!(answer.status, 400, "{}", answer.body);
        let problem: Value = answer.json();
        assert!(problem["detail"].as_str().unwrap().contains("use one of them"));
    }
    assert!(get(hub.address, "/events/a?lates").body.contains("did you mean `latest`?"));
}

#[test]
fn the_command_prints_the_newest_event_of_each_topic() {
    let hub = Server::start(&[]);
    for (topic, data) in [("state/a", "1"), ("state/b", "2"), ("state/a", "3")] {
        publish(hub.address, &format!("/events/{topic}"), data);
    }
    let url = hub.url("");
    let output = run(&["subscribe", "--url", &url, "--latest", "-n", "2", "state/*"], "");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "2\n3\n");
}
