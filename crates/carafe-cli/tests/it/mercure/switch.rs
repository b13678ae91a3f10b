//! Where Mercure is spoken, and by which methods.

use crate::http::{Stream, get, request};
use crate::mercure::fixture::{Hub, PATH, with_zero};
use crate::process::{Process, Server, carafe};

#[test]
fn mercure_is_spoken_only_where_it_is_switched_on() {
    let without = Server::start(&[]);
    assert_eq!(get(without.address, &format!("{PATH}?topic=a")).status, 404);
    let with = Server::start(&["--mercure"]);
    Stream::open(with.address, &format!("{PATH}?topic=a"), &[]);
}

#[test]
fn a_developers_hub_speaks_it_too_and_is_all_open() {
    let hub = Server::of(Process::start(carafe().args([
        "dev",
        "--mercure",
        "--log",
        "memory:",
        "--listen",
        "127.0.0.1:0",
    ])));
    let mut stream = Stream::open(hub.address, &format!("{PATH}?topic=a"), &[]);
    let headers = ["Content-Type: application/x-www-form-urlencoded"];
    assert_eq!(
        request(hub.address, "POST", PATH, &headers, b"topic=a&data=secret&private=on").status,
        200
    );
    assert_eq!(stream.data(1), ["secret"]);
    assert_eq!(request(hub.address, "GET", PATH, &["Host: evil.example"], b"").status, 403);
}

#[test]
fn a_key_of_a_mercure_dialect_switches_it_on() {
    Hub::open(&[]).stream(&[("topic", "a")], &[]);
}

#[test]
fn other_methods_are_405_with_the_allowed_ones() {
    let hub = Hub::open(&[]);
    for method in ["PUT", "DELETE", "PATCH", "TRACE", "SUBSCRIBE"] {
        let answer = hub.ask(method, "?topic=a", &[], "");
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some("GET, HEAD, POST, QUERY")),
            "{method}"
        );
    }
}

#[test]
fn clients_without_a_token_publish_only_where_they_may() {
    let open = Server::start(&["--mercure"]);
    let headers = ["Content-Type: application/x-www-form-urlencoded"];
    let post = |address| request(address, "POST", PATH, &headers, b"topic=a&data=1");
    assert_eq!(post(open.address).status, 200);
    assert_eq!(post(Hub::open(&[]).server.address).status, 401);
}

#[test]
fn one_hub_delivers_what_is_published_by_either_path() {
    let hub = Server::start(&["--mercure"]);
    let mut mercure = Stream::open(hub.address, &format!("{PATH}?topic=a"), &[]);
    let mut own = Stream::open(hub.address, "/events/a", &[]);
    let headers = ["Content-Type: application/x-www-form-urlencoded"];
    request(hub.address, "POST", PATH, &headers, b"topic=a&data=1&id=urn:1");
    let position = crate::http::publish(hub.address, "/events/a", "2");
    let by_mercure: Vec<_> = (0..2).map(|_| mercure.next().unwrap()).collect();
    assert_eq!(own.data(2), ["1", "2"]);
    assert_eq!((by_mercure[0].last_event_id.as_str(), by_mercure[0].data.as_str()), ("urn:1", "1"));
    assert_eq!((by_mercure[1].last_event_id.clone(), by_mercure[1].data.as_str()), (position, "2"));
}

#[test]
fn the_page_of_the_hub_is_html_for_browsers() {
    let page = get(Hub::open(&[]).server.address, "/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
}

#[test]
fn a_file_of_options_switches_it_on_too() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("carafe.toml");
    std::fs::write(
        &file,
        "mercure = true\nmercure-max-age = '1h'\npublic-url = 'https://hub.example'\n",
    )
    .unwrap();
    let hub = Server::start(&["--config", file.to_str().unwrap()]);
    Stream::open(hub.address, &format!("{PATH}?match=a"), &[]);
}

#[test]
fn a_hub_that_does_not_know_its_url_speaks_0_alone() {
    let hub = Server::start(&["--mercure"]);
    assert_eq!(get(hub.address, &format!("{PATH}?match=a")).status, 400);
    assert_eq!(
        get(hub.address, "/.well-known/oauth-protected-resource/.well-known/mercure").status,
        404
    );
}

#[test]
fn what_is_not_granted_to_publish_is_not_published() {
    let hub = Hub::open(&[]);
    let mut stream = hub.stream(&[("topic", "*")], &[]);
    let only_a = with_zero(&serde_json::json!({"publish": ["a"]}));
    assert_eq!(hub.post(&[("topic", "b"), ("data", "no")], &[&only_a]).status, 401);
    assert_eq!(hub.post(&[("topic", "a"), ("data", "yes")], &[&only_a]).status, 200);
    assert_eq!(stream.next().unwrap().data, "yes");
}
