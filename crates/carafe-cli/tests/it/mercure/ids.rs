//! The publishers' own IDs.

use tempfile::TempDir;

use crate::http::{Stream, header, request};
use crate::mercure::fixture::{Hub, PATH, form, ids};
use crate::process::{Process, Server, carafe};

#[test]
fn a_repeated_id_is_another_update() {
    let hub = Hub::open(&[]);
    let mut stream = hub.stream(&[("topic", "a")], &[]);
    for data in ["1", "2"] {
        hub.publish(&[("topic", "a"), ("id", "same"), ("data", data)]);
    }
    assert_eq!(stream.data(2), ["1", "2"]);
}

#[test]
fn resuming_is_after_the_earliest_that_is_kept() {
    let hub = Hub::open(&["--history-events", "3"]);
    for (id, data) in [("same", "0"), ("same", "1"), ("x", "2"), ("same", "3")] {
        hub.publish(&[("topic", "a"), ("id", id), ("data", data)]);
    }
    let mut stream = hub.stream(&[("topic", "a"), ("lastEventID", "same")], &[]);
    assert_eq!(stream.data(2), ["2", "3"], "the first of all is trimmed");
}

#[test]
fn an_idempotency_key_is_the_id_in_mercure_and_stays_a_key_in_the_api() {
    let hub = Server::start(&["--mercure"]);
    let publish = |target: &str, body: &str| crate::http::post(hub.address, target, body).status;
    assert_eq!([publish("/events/a?id=k", "1"), publish("/events/a?id=k", "2")], [201, 200]);
    let headers = ["Content-Type: application/x-www-form-urlencoded"];
    request(
        hub.address,
        "POST",
        PATH,
        &headers,
        form(&[("topic", "a"), ("id", "k"), ("data", "3")]).as_bytes(),
    );
    let mut stream =
        Stream::open(hub.address, &format!("{PATH}?topic=a&lastEventID=earliest"), &[]);
    let events = [(); 2].map(|()| stream.next().unwrap());
    assert_eq!(events.each_ref().map(|event| event.last_event_id.as_str()), ["k", "k"]);
    assert_eq!(events.each_ref().map(|event| event.data.as_str()), ["1", "3"]);
}

#[test]
fn an_update_without_an_id_is_resumed_after_by_its_position() {
    let hub = Server::start(&["--mercure"]);
    let first = crate::http::publish(hub.address, "/events/a", "1");
    let second = crate::http::publish(hub.address, "/events/a", "2");
    let mut stream = Stream::open(hub.address, &format!("{PATH}?topic=a&lastEventID={first}"), &[]);
    assert_eq!(header(&stream.head, "last-event-id"), Some(&*first));
    assert_eq!(ids(&mut stream, 1), [second]);
}

#[test]
fn a_client_whose_last_update_was_erased_misses_nothing() {
    let options = ["dev", "--mercure", "--log", "memory:", "--listen", "127.0.0.1:0"];
    let hub = Server::of(Process::start(carafe().args(options)));
    let last = crate::http::publish(hub.address, "/events/users/7", "secret");
    assert_eq!(request(hub.address, "DELETE", "/events/users/7", &[], b"").status, 200);
    let later =
        ["/events/a", "/events/users/7"].map(|of| crate::http::publish(hub.address, of, ""));
    let target = format!("{PATH}?topic=a&topic=users/7&lastEventID={last}");
    let mut stream = Stream::open(hub.address, &target, &[]);
    assert_eq!(header(&stream.head, "last-event-id"), Some(&*last));
    assert_eq!(ids(&mut stream, 2), later);
}

#[test]
fn ids_are_found_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let options = ["--mercure", "--segment-bytes", "4KiB"];
    let headers = ["Content-Type: application/x-www-form-urlencoded"];
    let hub = Server::on_disk(folder.path(), &options);
    for number in 0..200 {
        let id = if number % 2 == 0 { "even" } else { "odd" };
        let update = form(&[("topic", "a"), ("id", id), ("data", &number.to_string())]);
        assert_eq!(request(hub.address, "POST", PATH, &headers, update.as_bytes()).status, 200);
    }
    hub.terminate();
    assert!(hub.wait().success());
    let hub = Server::on_disk(folder.path(), &options);
    let mut stream = Stream::open(hub.address, &format!("{PATH}?topic=a&lastEventID=odd"), &[]);
    let expected: Vec<_> = (2..200).map(|number| number.to_string()).collect();
    assert_eq!(stream.data(198), expected);
}
