//! The socket of an event stream over HTTP/1.1 becomes a shard's when the head is out: whatever a
//! client does around that.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use carafe_protocol::ReceivedEvent;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::net::{AddressFamily, SocketType, sockopt};

use crate::http::{Stream, connect, header, publish, read_head};
use crate::process::{PATIENCE, Server, eventually, seed};

const STREAM: &str = "GET /events/a HTTP/1.1\r\nHost: x\r\n\r\n";
const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

/// A connection whose client takes little at once.
fn connect_narrow(address: SocketAddr) -> TcpStream {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_recv_buffer_size(&socket, 8 << 10).unwrap();
    rustix::net::connect(&socket, &address).unwrap();
    let socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

#[track_caller]
fn ask(socket: &mut TcpStream, request: &str) {
    socket.write_all(request.as_bytes()).unwrap();
}

/// Reads an answer that has a length, and nothing behind it.
#[track_caller]
fn answer(socket: &mut TcpStream) -> (String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let mut body = vec![0; header(&head, "content-length").unwrap().parse().unwrap()];
    socket.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

/// The stream is a shard's, and gets what is published.
#[track_caller]
fn check_stream(hub: &Server, mut stream: Stream) {
    assert_eq!(
        header(&stream.head, "connection"),
        Some("close"),
        "nothing else comes on this connection"
    );
    assert_eq!(header(&stream.head, "transfer-encoding"), Some("chunked"));
    assert_eq!(stream.next().unwrap().event_type, "carafe.position");
    for data in ["one", "two"] {
        let id = publish(hub.address, "/events/a", data);
        let event = stream.next().unwrap();
        assert_eq!((event.last_event_id, &*event.data), (id, data));
    }
}

#[test]
fn a_stream_is_taken_over_on_a_connection_that_has_answered_before() {
    let hub = Server::start(&[]);
    let mut socket = connect(hub.address);
    for _ in 0..3 {
        ask(&mut socket, HEALTH);
        assert_eq!(answer(&mut socket).1, "alive\n");
    }
    ask(&mut socket, STREAM);
    check_stream(&hub, Stream::answered(socket));
}

#[test]
fn a_request_sent_together_with_the_one_before_is_answered_after_it() {
    let hub = Server::start(&[]);
    let mut socket = connect(hub.address);
    ask(&mut socket, &[HEALTH, HEALTH, STREAM].concat());
    for _ in 0..2 {
        assert_eq!(answer(&mut socket).1, "alive\n");
    }
    check_stream(&hub, Stream::answered(socket));
}

#[test]
fn answers_to_requests_sent_together_come_in_order_and_do_not_wait_for_what_follows() {
    let hub = Server::start(&["--anonymous", "publish"]);
    let mut socket = connect(hub.address);
    let publish = "POST /events/a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n";
    let looks_like_requests = format!("{publish}\r\n\r\n");
    let (begun, rest) = HEALTH.split_at(9);
    for requests in [1, 2, 3, 100] {
        let together = looks_like_requests.repeat(requests);
        ask(&mut socket, &[&together, HEALTH, begun].concat());
        let offsets: Vec<u64> = (0..requests).map(|_| offset(&answer(&mut socket).1)).collect();
        assert!(offsets.is_sorted_by(|one, next| one + 1 == *next), "{offsets:?}");
        assert_eq!(answer(&mut socket).1, "alive\n");
        ask(&mut socket, rest);
        assert_eq!(answer(&mut socket).1, "alive\n");
    }
}

/// The offset in the answer to an event.
fn offset(answer: &str) -> u64 {
    answer.split('-').nth(1).unwrap().parse().unwrap()
}

/// The head says that the connection serves nothing after the stream, and so what was asked for
/// after it is not answered.
#[test]
fn a_request_sent_together_with_a_stream_is_never_a_part_of_it() {
    let hub = Server::start(&[]);
    for behind in
        [HEALTH, STREAM, "POST /events/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"]
    {
        let mut socket = connect(hub.address);
        ask(&mut socket, &[STREAM, behind].concat());
        check_stream(&hub, Stream::answered(socket));
    }
}

#[test]
fn a_head_may_arrive_byte_by_byte() {
    let hub = Server::start(&[]);
    let mut socket = connect(hub.address);
    socket.set_nodelay(true).unwrap();
    for byte in STREAM.as_bytes() {
        socket.write_all(&[*byte]).unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    check_stream(&hub, Stream::answered(socket));
}

#[test]
fn an_answer_that_is_no_stream_leaves_the_connection_to_the_next_request() {
    let hub = Server::start(&[]);
    let mut socket = connect(hub.address);
    ask(&mut socket, "HEAD /events/a HTTP/1.1\r\nHost: x\r\n\r\n");
    let (head, body) = read_head(&mut socket);
    assert!(
        head.starts_with("HTTP/1.1 200 ") && header(&head, "carafe-position").is_some(),
        "{head}"
    );
    assert!(body.is_empty(), "{body:?}");
    for (method, target, status) in [
        ("GET", "/events/a?topics", "400"),
        ("GET", "/nowhere", "404"),
        ("PUT", "/events/a", "405"),
        ("GET", "/events?pattern=(", "400"),
    ] {
        ask(&mut socket, &format!("{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
        let (head, _) = answer(&mut socket);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {head}");
    }
    ask(&mut socket, STREAM);
    check_stream(&hub, Stream::answered(socket));
}

#[test]
fn a_stream_that_is_forbidden_leaves_the_connection_to_publish_on() {
    let hub = Server::anonymous("publish");
    let mut socket = connect(hub.address);
    ask(&mut socket, STREAM);
    assert!(answer(&mut socket).0.starts_with("HTTP/1.1 403 "));
    ask(&mut socket, "POST /events/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx");
    assert!(answer(&mut socket).0.starts_with("HTTP/1.1 201 "));
}

#[test]
fn what_is_no_request_ends_the_connection_and_no_other() {
    let hub = Server::start(&[]);
    let stream = Stream::open(hub.address, "/events/a", &[]);
    for garbage in [
        "\r\n\0\r\n\r\n",
        "GET /events/a HTTP/1.1\r\nHost: x\r\nA B\r\n\r\n",
        "GET /events/a\r\n\r\n",
    ] {
        let mut socket = connect(hub.address);
        ask(&mut socket, HEALTH);
        assert_eq!(answer(&mut socket).1, "alive\n");
        ask(&mut socket, garbage);
        let mut rest = String::new();
        let _ = socket.read_to_string(&mut rest);
        assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 400 "), "{garbage:?}: {rest}");
    }
    check_stream(&hub, stream);
}

#[test]
fn a_client_that_expects_100_continue_gets_its_stream() {
    let hub = Server::start(&[]);
    for headers in ["Expect: 100-continue\r\n", "Expect: 100-continue\r\nContent-Length: 0\r\n"] {
        let mut socket = connect(hub.address);
        ask(&mut socket, &format!("GET /events/a HTTP/1.1\r\nHost: x\r\n{headers}\r\n"));
        check_stream(&hub, Stream::answered(socket));
    }
}

/// Whether the body is sent with the head or after it.
#[test]
fn a_request_for_a_stream_may_have_a_body_that_is_not_read() {
    let hub = Server::start(&[]);
    for (header, body) in
        [("Content-Length: 5", "hello"), ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n")]
    {
        for later in [false, true] {
            let mut socket = connect(hub.address);
            ask(&mut socket, &format!("GET /events/a HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n"));
            let mut stream = if later {
                let stream = Stream::answered(socket.try_clone().unwrap());
                ask(&mut socket, body);
                stream
            } else {
                ask(&mut socket, body);
                Stream::answered(socket)
            };
            assert_eq!(stream.next().unwrap().event_type, "carafe.position");
            let id = publish(hub.address, "/events/a", "one");
            assert_eq!(stream.next().unwrap().last_event_id, id, "{header}, later: {later}");
        }
    }
}

/// Data of many sizes, the largest more than any buffer on the way holds.
fn sized(random: &mut StdRng, number: usize) -> String {
    let length = if number % 40 == 39 { 200 << 10 } else { random.random_range(0..4 << 10) };
    format!("{number} {}", "x".repeat(length))
}

/// Frames are half sent again and again; heartbeats must not come within them, and other streams
/// not wait for it.
#[track_caller]
fn reads_slowly_and_gets_every_byte(options: &[&str]) {
    let mut random = StdRng::seed_from_u64(seed());
    let hub = Server::start(&[&["--heartbeat", "4ms"], options].concat());
    let mut quick = Stream::open(hub.address, "/events/a", &[]);
    let mut socket = connect_narrow(hub.address);
    ask(&mut socket, STREAM);
    let mut slow = Stream::answered(socket);
    let published: Vec<_> = (0..80).map(|number| sized(&mut random, number)).collect();
    for data in &published {
        publish(hub.address, "/events/a", data);
    }
    assert!(quick.data(published.len()) == published, "the one who reads at once gets all");
    let mut seen = Vec::new();
    while seen.len() < published.len() {
        let read = slow.read_some(random.random_range(1..16 << 10)).unwrap();
        assert!(read > 0, "after {} events", seen.len());
        while let Some(event) = slow.next_read() {
            seen.push(event);
        }
        seen.retain(|event: &ReceivedEvent| event.event_type == "message");
    }
    let seen: Vec<_> = seen.into_iter().map(|event| event.data).collect();
    assert!(seen == published, "each byte, in order, once");
    let id = publish(hub.address, "/events/a", "live again");
    let live =
        std::iter::from_fn(|| slow.next()).find(|event| event.event_type == "message").unwrap();
    assert_eq!((live.last_event_id, &*live.data), (id, "live again"));
}

#[test]
fn a_slow_reader_gets_every_byte_from_memory() {
    reads_slowly_and_gets_every_byte(&[]);
}

#[test]
fn a_slow_reader_gets_every_byte_from_the_log() {
    reads_slowly_and_gets_every_byte(&["--ring-bytes", "32KiB"]);
}

/// A hub that serves one stream already, and how many descriptors it has then.
fn serving(options: &[&str]) -> (Server, Stream, usize) {
    let hub = Server::start(options);
    let stream = Stream::open(hub.address, "/events/a", &[]);
    let descriptors = hub.descriptors();
    (hub, stream, descriptors)
}

/// Opens streams, lets their clients leave, and waits until nothing is held for them.
#[track_caller]
fn leaves_nothing(leave: impl Fn(TcpStream)) {
    let (hub, mut stays, before) = serving(&[]);
    let streams: Vec<_> = (0..50).map(|_| Stream::open(hub.address, "/events/a", &[])).collect();
    assert!(hub.descriptors() >= before + 50);
    streams.iter().for_each(|stream| leave(stream.socket().try_clone().unwrap()));
    drop(streams);
    eventually("the descriptors of all who left are free", || hub.descriptors() == before);
    assert_eq!(stays.next().unwrap().event_type, "carafe.position");
    let id = publish(hub.address, "/events/a", "who stays is not disturbed");
    assert_eq!(stays.next().unwrap().last_event_id, id);
}

#[test]
fn a_client_that_closes_leaves_nothing_behind() {
    leaves_nothing(drop);
}

#[test]
fn a_client_that_is_reset_leaves_nothing_behind() {
    leaves_nothing(|socket| sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).unwrap());
}

/// What a client does on its side of a stream ends the stream, and the connection with it.
#[track_caller]
fn ends_the_stream(act: impl Fn(&mut TcpStream)) {
    let (hub, _stays, before) = serving(&[]);
    let mut stream = Stream::open(hub.address, "/events/a", &[]);
    stream.next().unwrap();
    act(&mut stream.socket().try_clone().unwrap());
    // A reset is the other way to say so.
    while stream.read_some(1024).is_ok_and(|read| read > 0) {}
    eventually("the descriptor is free", || hub.descriptors() == before);
}

#[test]
fn a_client_that_closes_its_side_has_left() {
    ends_the_stream(|socket| socket.shutdown(Shutdown::Write).unwrap());
}

#[test]
fn a_client_that_sends_another_request_on_its_stream_is_disconnected() {
    for more in [HEALTH, STREAM, "x"] {
        ends_the_stream(|socket| ask(socket, more));
    }
}

#[test]
fn a_client_that_leaves_within_a_frame_leaves_nothing_behind() {
    let (hub, _stays, before) = serving(&[]);
    let mut socket = connect_narrow(hub.address);
    ask(&mut socket, STREAM);
    let stream = Stream::answered(socket);
    for _ in 0..8 {
        publish(hub.address, "/events/a", &"x".repeat(1 << 20));
    }
    drop(stream);
    eventually("the descriptor is free", || hub.descriptors() == before);
}

/// It never keeps half an event: complete events count, and it receives the others when it resumes.
#[test]
fn a_client_that_takes_nothing_is_cut_in_time_and_resumes_exactly() {
    let mut random = StdRng::seed_from_u64(seed());
    let (hub, mut healthy, before) = serving(&["--write-timeout", "300ms", "--heartbeat", "100ms"]);
    let mut stalled: Vec<_> = (0..10)
        .map(|_| {
            let mut socket = connect_narrow(hub.address);
            ask(&mut socket, STREAM);
            Stream::answered(socket)
        })
        .collect();
    let published: Vec<_> = (0..120).map(|number| sized(&mut random, number)).collect();
    for data in &published {
        publish(hub.address, "/events/a", data);
    }
    assert!(healthy.data(published.len()) == published, "a client that reads notices nothing");
    eventually("all who take nothing are cut", || hub.descriptors() == before);
    let quiet = publish(hub.address, "/events/b", "not for it");
    let position = std::iter::from_fn(|| healthy.next()).find(|event| event.last_event_id == quiet);
    assert_eq!(position.unwrap().event_type, "carafe.position", "a client that reads continues");
    for stream in &mut stalled {
        while stream.read_some(16 << 10).is_ok_and(|read| read > 0) {}
        let got: Vec<_> = std::iter::from_fn(|| stream.next_read()).collect();
        let id = format!("Last-Event-ID: {}", got.last().unwrap().last_event_id);
        let mut seen: Vec<_> =
            got.into_iter().filter(|event| event.event_type == "message").collect();
        assert!(seen.len() < published.len(), "it took all");
        let mut resumed = Stream::open(hub.address, "/events/a", &[&id]);
        assert_eq!(resumed.next().unwrap().event_type, "carafe.position", "and no gap");
        seen.extend((seen.len()..published.len()).map(|_| resumed.next().unwrap()));
        assert!(
            seen.into_iter().map(|event| event.data).eq(published.iter().cloned()),
            "nothing lost or twice"
        );
    }
}

/// An answer waits for the next one if the client has sent more. Here the rest is no request.
#[test]
fn an_answer_is_sent_even_if_the_next_request_is_cut_off() {
    let hub = Server::start(&[]);
    let body = "a blank line\r\n\r\nwithin";
    let length = body.len();
    for rest in ["GET /events/a HT", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\0\r\n\r\n"] {
        let mut socket = connect(hub.address);
        let request = format!(
            "POST /events/a HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}{rest}"
        );
        socket.write_all(request.as_bytes()).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 201 "), "{rest:?}: {answer:?}");
    }
}

/// A hundred at once, and the next in a while: those are served meanwhile.
#[test]
fn a_drain_ends_a_share_of_the_streams_at_a_time() {
    let hub = Server::start(&["--drain-timeout", "30min", "--heartbeat", "100ms"]);
    let streams: Vec<_> = (0..130).map(|_| Stream::open(hub.address, "/events/a", &[])).collect();
    let (ended, ends) = channel();
    for mut stream in streams {
        let ended = ended.clone();
        thread::spawn(move || {
            while stream.next().is_some() {}
            // The test may be over.
            let _ = ended.send(());
        });
    }
    hub.terminate();
    for _ in 0..100 {
        ends.recv_timeout(PATIENCE).unwrap();
    }
    thread::sleep(Duration::from_millis(300));
    assert!(ends.try_recv().is_err(), "the others have time");
    hub.kill();
}

#[test]
fn streams_of_many_topics_end_in_order_when_the_program_is_stopped() {
    let hub = Server::start(&["--drain-timeout", "20s"]);
    let mut streams: Vec<_> = (0..60)
        .map(|number| Stream::open(hub.address, &format!("/events/t/{}", number % 7), &[]))
        .collect();
    for number in 0..70 {
        publish(hub.address, &format!("/events/t/{}", number % 7), &number.to_string());
    }
    hub.terminate();
    for (number, stream) in streams.iter_mut().enumerate() {
        let events = std::iter::from_fn(|| stream.next()).skip(1);
        let expected = (number % 7..70).step_by(7).map(|number| number.to_string());
        assert!(events.map(|event| event.data).eq(expected), "stream {number}");
    }
    assert!(hub.wait().success());
}
