//! Events are erased over HTTP: nobody receives them any more, and their bytes leave the disk.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;

use crate::durable::log;
use crate::http::{Answer, Stream, get, publish, request};
use crate::process::{Process, Server, carafe, eventually};

/// A hub with small segments, where everybody may do everything.
fn hub(log: &Path, erase_within: &str) -> Server {
    let log = format!("disk:{}", log.display());
    let mut command = carafe();
    command.args(["dev", "--log", &log, "--listen", "127.0.0.1:0", "--segment-bytes", "16KiB"]);
    Server::of(Process::start(command.args(["--erase-within", erase_within])))
}

fn delete(address: SocketAddr, target: &str) -> Answer {
    request(address, "DELETE", target, &[], b"")
}

/// Whether a file of the log has the text.
pub(crate) fn has(log: &Path, text: &str) -> bool {
    let files = fs::read_dir(log).unwrap().filter_map(|file| fs::read(file.unwrap().path()).ok());
    let has = |bytes: Vec<u8>| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    files.into_iter().any(has)
}

fn publish_secrets(address: SocketAddr, count: usize) {
    for number in 0..count {
        publish(address, "/events/users/7", &format!("secret-{number}-{}", "x".repeat(1000)));
        publish(address, "/events/other", &format!("other-{number}"));
    }
}

pub(crate) fn verify(log: &Path) -> String {
    let output = carafe().args(["log", "verify"]).arg(log).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_erased_topic_is_gone_for_readers_at_once_and_from_the_disk_soon() {
    let (_folder, log) = log();
    let hub = hub(&log, "10ms");
    let first = publish(hub.address, "/events/users/7", "secret-first");
    publish_secrets(hub.address, 100);
    let answer = delete(hub.address, "/events/users/7");
    assert_eq!(answer.status, 200);
    let erasure = answer.json()["id"].as_str().unwrap().to_owned();
    let after = publish(hub.address, "/events/users/7", "published after");

    let mut stream = Stream::open(hub.address, "/events/users/7?earliest", &[]);
    assert_eq!(stream.data(1), ["published after"]);
    let resumed = format!("/events/users/7?last_event_id={first}");
    let text = Stream::open(hub.address, &resumed, &[]).text_until(&after);
    assert!(text.contains("carafe.gap") && text.contains("\"reason\":\"erased\""), "{text}");
    assert!(!text.contains("secret"), "{text}");
    let page = get(hub.address, "/events/users/7?format=json&last=50").body;
    assert!(page.contains("published after") && !page.contains("secret"), "{page}");
    eventually("the bytes have left the disk", || !has(&log, "secret-"));
    assert!(has(&log, "other-99") && has(&log, "published after"));
    let from_erasure = format!("/events/users/7?last_event_id={erasure}");
    assert_eq!(Stream::open(hub.address, &from_erasure, &[]).data(1), ["published after"]);
}

#[test]
fn one_event_is_erased_by_its_id() {
    let (_folder, log) = log();
    let hub = hub(&log, "10ms");
    let ids = ["one", "two", "three"].map(|text| publish(hub.address, "/events/a", text));
    let target = format!("/events/a?id={}", ids[1]);
    assert_eq!(delete(hub.address, &format!("/events/b?id={}", ids[1])).status, 404);
    assert_eq!(delete(hub.address, &target).status, 200);
    assert_eq!(delete(hub.address, &target).status, 204);
    let received = Stream::open(hub.address, "/events/a?earliest", &[]).data(2);
    assert_eq!(received, ["one", "three"]);
    eventually("it has left the disk", || !has(&log, "two"));
}

#[test]
fn an_erasure_that_makes_no_sense_is_refused() {
    let hub = Server::dev();
    for (target, status, problem) in [
        ("/events", 405, "wrong-method"),
        ("/events/", 400, "bad-topic"),
        ("/events/a?id=7", 400, "bad-parameter"),
        ("/events/a?ids=7", 400, "bad-parameter"),
        ("/events/a?id=000000000001-1-00000003", 404, "not-found"),
    ] {
        let answer = delete(hub.address, target);
        assert_eq!(answer.status, status, "{target}: {}", answer.body);
        let urn = format!("urn:carafe:problem:{problem}");
        assert_eq!(answer.json()["type"], Value::from(urn), "{target}");
    }
    let closed = Server::start(&[]);
    let answer = delete(closed.address, "/events/a");
    assert_eq!((answer.status, answer.json()["type"].as_str().unwrap()), {
        (403, "urn:carafe:problem:forbidden")
    });
}

#[test]
fn a_hub_that_is_killed_while_it_rewrites_carries_the_erasure_out_when_it_starts_again() {
    let (_folder, log) = log();
    let first = hub(&log, "1h");
    publish_secrets(first.address, 200);
    assert_eq!(delete(first.address, "/events/users/7").status, 200);
    first.kill();
    assert!(has(&log, "secret-"));
    let said = verify(&log);
    assert!(said.contains("200 erased entries are still on the disk"), "{said}");
    for _ in 0..20 {
        // Killed at any moment: nothing is awaited.
        hub(&log, "1ms").kill();
    }
    let last = hub(&log, "1ms");
    eventually("the bytes have left the disk", || !has(&log, "secret-"));
    let received = Stream::open(last.address, "/events?earliest", &[]).data(200);
    let expected: Vec<_> = (0..200).map(|number| format!("other-{number}")).collect();
    assert_eq!(received, expected);
    last.terminate();
    assert!(last.wait().success());
    assert_eq!(verify(&log), "");
}
