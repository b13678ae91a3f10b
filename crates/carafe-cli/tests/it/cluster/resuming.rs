//! All clients of a killed node resume at another one at the same moment.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use carafe_testing::nats::is_here;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::http::{Stream, connect, publish};
use crate::process::from_env;

use super::nodes::{Copy, Nodes};

/// So many clients have to be back within [`SOON`].
const MANY: u64 = 10_000;
const SOON: Duration = Duration::from_secs(15);

const MISSED: usize = 3;
const LATER: usize = 2;

/// Clients of one thread.
const THREADS: usize = 16;

/// A client that is to resume after the last event that it has received.
struct Client {
    stream: Stream,
    last: String,
}

/// Sends all requests before it waits for the first answer.
fn open_all(address: SocketAddr, last: &[String]) -> Vec<Stream> {
    let ask = |id: &String| -> TcpStream {
        let mut socket = connect(address);
        let target = format!("/events/a?last_event_id={id}");
        write!(socket, "GET {target} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
        socket
    };
    let sockets: Vec<_> = last.iter().map(ask).collect();
    sockets.into_iter().map(Stream::answered).collect()
}

/// Does something with parts of all clients, by several threads at once.
fn each_part<T: Send, U: Send>(all: Vec<T>, work: impl Fn(Vec<T>) -> Vec<U> + Sync) -> Vec<U> {
    let size = all.len().div_ceil(THREADS).max(1);
    let (mut all, mut parts) = (all.into_iter(), Vec::new());
    loop {
        let part: Vec<_> = all.by_ref().take(size).collect();
        if part.is_empty() {
            break;
        }
        parts.push(part);
    }
    thread::scope(|scope| {
        let work = &work;
        let started: Vec<_> =
            parts.into_iter().map(|part| scope.spawn(move || work(part))).collect();
        started.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// The clients of a node, each of which has received the newest event.
fn begin(address: SocketAddr, before: &str, count: u64) -> Vec<Client> {
    let ids = vec![before.to_owned(); usize::try_from(count).unwrap()];
    let streams = each_part(ids, |part| open_all(address, &part));
    publish(address, "/events/a", "seen");
    each_part(streams, |part| {
        let receive = |mut stream: Stream| {
            let event = stream.next_published();
            assert_eq!(event.data, "seen");
            Client { stream, last: event.last_event_id }
        };
        part.into_iter().map(receive).collect()
    })
}

fn raise_descriptors() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

#[test]
fn all_clients_of_a_killed_node_resume_at_once_and_get_each_event_once_and_the_engine_reads_nothing()
 {
    if !is_here("all_clients_of_a_killed_node_resume_at_once_and_get_each_event_once") {
        return;
    }
    raise_descriptors();
    let count = from_env("CARAFE_TEST_CLUSTER_CLIENTS", 400);
    let limit = (2 * count).to_string();
    let limits = ["--subscribers-per-address", &limit, "--connections-per-address", &limit];
    let mut nodes = Nodes::start(1, &[Copy::Memory, Copy::Memory], &limits);
    let before = publish(nodes.address(0), "/events/a", "before");
    let clients = begin(nodes.address(0), &before, count);
    nodes.kill(0);
    let (address, sent, killed) = (nodes.address(1), nodes.nats.messages_sent(), Instant::now());
    let missed =
        (0..MISSED).map(|number| publish(address, "/events/a", &format!("missed {number}")));
    let missed: Vec<_> = missed.collect();
    let resumed = each_part(clients, |part| {
        let (streams, last): (Vec<_>, Vec<_>) =
            part.into_iter().map(|client| (client.stream, client.last)).unzip();
        drop(streams);
        let resume = |mut stream: Stream| {
            let ids = missed.iter().map(|_| stream.next_published().last_event_id);
            assert!(ids.eq(missed.iter().cloned()), "each missed event once, and in order");
            stream
        };
        open_all(address, &last).into_iter().map(resume).collect()
    });
    let took = killed.elapsed();
    let asked = nodes.nats.messages_sent() - sent;
    println!("{} clients resumed {took:?} after their node was killed", resumed.len());
    assert!(count < MANY || took <= SOON, "{took:?}");
    // Heartbeats of the tail, and the commits of what was missed: nothing for the clients.
    let others = 10 * (took.as_secs() + 2) + 4 * MISSED as u64;
    assert!(asked < count / 4 + others, "the engine has sent {asked} messages");
    let later = (0..LATER).map(|number| format!("later {number}"));
    let later: Vec<_> = later.collect();
    later.iter().for_each(|data| drop(publish(address, "/events/a", data)));
    let received =
        each_part(resumed, |part| part.into_iter().map(|mut stream| stream.data(LATER)).collect());
    assert_eq!(received.len() as u64, count, "each client is back");
    assert!(received.iter().all(|data| *data == later), "nothing came twice before that");
}
