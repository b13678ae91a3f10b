//! How streams end, and which reason their observers get.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{ThreadId, current};
use std::time::{Duration, Instant};

use carafe_fanout::{EndReason, NewStream, ShardHelper, ShardOptions, ShardPool, StreamObserver};
use carafe_hub::{Format, Frames, Heartbeat, Hub, Subscribe};
use carafe_log::{MemoryLog, Publication};
use carafe_protocol::Topic;
use futures_executor::block_on;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) enum Watcher {
    /// Reports the end reason of its stream.
    Witness(Sender<EndReason>),
    /// Reports how many bytes and events were sent when its stream ends.
    Counter { bytes: usize, events: u32, totals: Sender<(usize, u32)> },
    /// Reports the thread that sends, for each write.
    Sent(Sender<ThreadId>),
    /// Is revoked once the flag is set, and reports the end of its stream.
    Revocable(Arc<AtomicBool>, Sender<EndReason>),
    /// Makes its shard panic.
    Wrecker,
    /// Makes the thread or the helper panic that takes a turn of its shard.
    SendWrecker,
}

impl StreamObserver for Watcher {
    fn ended(self, ended: EndReason) {
        match self {
            // A test may end before its streams do: in a shard that ends by a panic, another panic
            // would end all tests.
            Self::Witness(sender) | Self::Revocable(_, sender) => drop(sender.send(ended)),
            Self::Counter { bytes, events, totals } => drop(totals.send((bytes, events))),
            Self::Wrecker => panic!("as a test wants it"),
            Self::Sent(_) | Self::SendWrecker => {}
        }
    }

    fn sent(&mut self, more_bytes: usize, more_events: u32) {
        match self {
            Self::Counter { bytes, events, .. } => {
                *bytes += more_bytes;
                *events += more_events;
            }
            // The test may have ended.
            Self::Sent(sender) => drop(sender.send(current().id())),
            Self::SendWrecker => panic!("as a test wants it"),
            Self::Witness(_) | Self::Revocable(..) | Self::Wrecker => {}
        }
    }

    fn is_revoked(&self) -> bool {
        matches!(self, Self::Revocable(revoked, _) if revoked.load(Ordering::SeqCst))
    }
}

pub(crate) struct Rig {
    hub: Hub,
    shards: ShardPool<Watcher>,
    pub(crate) listener: TcpListener,
}

impl Rig {
    pub(crate) fn new(options: &ShardOptions) -> Self {
        Self::with_heartbeat(options, Duration::from_secs(15))
    }

    pub(crate) fn with_heartbeat(options: &ShardOptions, heartbeat: Duration) -> Self {
        let hub = Hub::new(MemoryLog::default());
        let mut options = options.clone();
        options.threads = NonZeroUsize::MIN;
        let shards = ShardPool::start(&hub, &options, heartbeat).unwrap();
        Self { hub, shards, listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    pub(crate) fn helper(&self) -> ShardHelper<Watcher> {
        self.shards.helpers().next().unwrap()
    }

    pub(crate) fn publish(&self, data: impl Into<String>) {
        block_on(self.hub.publish(Publication::new(topic(), data.into()))).unwrap();
    }

    pub(crate) fn review(&self) {
        self.shards.review();
    }

    /// A client whose stream expires at this time, if one is given.
    pub(crate) fn join(&self, until: Option<Instant>, observer: Watcher) -> TcpStream {
        self.join_seen(until, observer).0
    }

    /// The same, and a second handle to the socket that the shard has.
    pub(crate) fn join_seen(
        &self,
        until: Option<Instant>,
        observer: Watcher,
    ) -> (TcpStream, TcpStream) {
        self.join_with(self.frames(), until, observer)
    }

    /// A client that wants this heartbeat.
    pub(crate) fn join_wanting(&self, heartbeat: Heartbeat, observer: Watcher) -> TcpStream {
        self.join_with(self.frames().with_heartbeat(heartbeat), None, observer).0
    }

    fn join_with(
        &self,
        mut frames: Frames,
        until: Option<Instant>,
        observer: Watcher,
    ) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let (mut socket, _) = self.listener.accept().unwrap();
        let opening = frames.opening();
        write!(socket, "{:x}\r\n{}\r\n", opening.len(), str::from_utf8(&opening).unwrap()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let seen = socket.try_clone().unwrap();
        self.shards.add(socket, NewStream { frames, until, observer });
        (client, seen)
    }

    fn frames(&self) -> Frames {
        let subscription = block_on(self.hub.subscribe(Subscribe::to(topic())));
        subscription.unwrap().into_frames(Format::Plain)
    }

    pub(crate) fn witnessed(&self, until: Option<Instant>) -> (TcpStream, Receiver<EndReason>) {
        let (sender, ends) = channel();
        (self.join(until, Watcher::Witness(sender)), ends)
    }

    /// Waits until hub and shards have forgotten all streams: the shard forgets a stream right
    /// after it has called the observer.
    #[track_caller]
    pub(crate) fn is_left_by_all(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.hub.subscriptions() + self.shards.streams() > 0 {
            assert!(Instant::now() < deadline, "a stream is left");
            std::thread::yield_now();
        }
    }
}

fn write_timeout(time: Duration) -> ShardOptions {
    let mut options = ShardOptions::default();
    options.write_timeout = time;
    options
}

fn topic() -> Topic {
    Topic::new("a").unwrap()
}

/// Reads until an event has this line, to the end of the event.
#[track_caller]
pub(crate) fn read_to(client: &mut TcpStream, wanted: &str) -> String {
    let mut read = String::new();
    while !(read.ends_with("\n\n\r\n") && read.contains(wanted)) {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        read.push(char::from(byte[0]));
    }
    read
}

/// The shard takes its time to add streams with nothing to send, but not once there is an event.
#[test]
fn streams_that_arrive_together_receive_the_events_published_meanwhile() {
    let rig = Rig::new(&ShardOptions::default());
    let (mut clients, mut ends) = (Vec::new(), Vec::new());
    for number in 0..600 {
        let (client, end) = rig.witnessed(None);
        clients.push(client);
        ends.push(end);
        if number % 40 == 0 {
            let event = format!("data: {number}\n");
            rig.publish(number.to_string());
            clients.iter_mut().for_each(|client| drop(read_to(client, &event)));
        }
    }
    drop(clients);
    ends.iter().for_each(|end| assert_eq!(end.recv_timeout(PATIENCE), Ok(EndReason::Left)));
    rig.is_left_by_all();
}

#[test]
fn the_stream_of_a_client_that_leaves_ends() {
    let rig = Rig::new(&ShardOptions::default());
    for leave in [
        |client: TcpStream| drop(client),
        |client: TcpStream| client.shutdown(Shutdown::Write).unwrap(),
        |mut client: TcpStream| client.write_all(b"x").unwrap(),
    ] {
        let (mut client, ends) = rig.witnessed(None);
        read_to(&mut client, "event: carafe.position\n");
        leave(client);
        assert_eq!(ends.recv_timeout(PATIENCE), Ok(EndReason::Left));
        rig.is_left_by_all();
    }
}

/// It may have left before the shard registers its socket.
#[test]
fn a_client_that_has_left_when_its_stream_reaches_the_shard_leaves_nothing() {
    let rig = Rig::new(&ShardOptions::default());
    let ends: Vec<_> = (0..100).map(|_| rig.witnessed(None).1).collect();
    ends.iter().for_each(|ends| assert_eq!(ends.recv_timeout(PATIENCE), Ok(EndReason::Left)));
    rig.is_left_by_all();
}

#[test]
fn a_drained_stream_ends_after_all_that_was_published() {
    let rig = Rig::new(&ShardOptions::default());
    let (mut client, ends) = rig.witnessed(None);
    rig.publish("last");
    assert_eq!(rig.hub.drain().end(1), 1);
    let mut all = String::new();
    client.read_to_string(&mut all).unwrap();
    assert!(all.contains("data: last\n") && all.ends_with("\n\n\r\n0\r\n\r\n"), "{all}");
    assert_eq!(ends.recv_timeout(PATIENCE), Ok(EndReason::Completed));
    rig.is_left_by_all();
}

/// One client takes what it is sent at once. The other reads only after its socket was full, so its
/// events are written in parts and several at a time.
#[test]
fn the_observer_of_a_stream_counts_its_bytes_and_events() {
    const BIG: usize = 1 << 20;
    let rig = Rig::new(&ShardOptions::default());
    let (totals, ends) = channel();
    let counter = || Watcher::Counter { bytes: 0, events: 0, totals: totals.clone() };
    let (mut prompt, mut late) = (rig.join(None, counter()), rig.join(None, counter()));
    // The rig sends the opening, not the shard.
    let opening = read_to(&mut prompt, "event: carafe.position\n").len();
    let mut read_before = 0;
    for number in 0..20 {
        rig.publish(number.to_string());
        read_before += read_to(&mut prompt, &format!("data: {number}\n")).len();
    }
    let reader = std::thread::spawn(move || std::io::copy(&mut prompt, &mut std::io::sink()));
    (0..16).for_each(|_| rig.publish("x".repeat(BIG)));
    rig.hub.drain().end(2);
    let read_late = std::io::copy(&mut late, &mut std::io::sink()).unwrap() as usize - opening;
    let read_prompt = read_before + reader.join().unwrap().unwrap() as usize;
    let mut counted = [(); 2].map(|()| ends.recv_timeout(PATIENCE).unwrap());
    // A stream that falls far behind is sent several events in a chunk, and so fewer bytes.
    let mut read = [(read_prompt, 20 + 16), (read_late, 20 + 16)];
    counted.sort_unstable();
    read.sort_unstable();
    assert_eq!(counted, read);
}

#[test]
fn an_expired_stream_reports_it_and_ends() {
    let rig = Rig::new(&ShardOptions::default());
    let (mut stays, _ends) = rig.witnessed(Some(Instant::now() + 100 * PATIENCE));
    for wait in [Duration::ZERO, Duration::from_millis(50)] {
        let (mut client, ends) = rig.witnessed(Some(Instant::now() + wait));
        rig.publish("in time or not");
        let mut all = String::new();
        client.read_to_string(&mut all).unwrap();
        assert!(all.contains("event: carafe.expired\n") && all.ends_with("0\r\n\r\n"), "{all}");
        assert_eq!(ends.recv_timeout(PATIENCE), Ok(EndReason::Completed));
    }
    rig.publish("still here");
    read_to(&mut stays, "data: still here\n");
}

#[test]
fn a_client_that_takes_nothing_stalls_and_is_cut() {
    let brief = Duration::from_millis(100);
    let rig = Rig::with_heartbeat(&write_timeout(brief), brief);
    let (client, ends) = rig.witnessed(None);
    // More than both buffers hold.
    (0..16).for_each(|_| rig.publish("x".repeat(1 << 20)));
    assert_eq!(ends.recv_timeout(PATIENCE), Ok(EndReason::Stalled));
    rig.is_left_by_all();
    drop(client);
}

/// The shard visits its subscribers by the heartbeat interval, which is far longer here than the
/// kernel's timeout.
#[test]
#[cfg(target_os = "linux")]
fn a_client_that_the_kernel_gives_up_has_stalled() {
    let options = write_timeout(Duration::from_millis(100));
    let rig = Rig::with_heartbeat(&options, 100 * PATIENCE);
    ShardPool::<Watcher>::prepare(&rig.listener, &options);
    let (client, ends) = rig.witnessed(None);
    (0..16).for_each(|_| rig.publish("x".repeat(1 << 20)));
    assert_eq!(ends.recv_timeout(PATIENCE), Ok(EndReason::Stalled));
    rig.is_left_by_all();
    drop(client);
}

#[test]
fn streams_are_cut_when_the_last_handle_is_dropped() {
    let rig = Rig::new(&ShardOptions::default());
    let (mut client, ends) = rig.witnessed(None);
    read_to(&mut client, "event: carafe.position\n");
    let Rig { hub, shards, .. } = rig;
    let other = shards.clone();
    drop(shards);
    assert_eq!(ends.recv_timeout(Duration::from_millis(50)), Err(RecvTimeoutError::Timeout));
    drop(other);
    assert_eq!(ends.recv_timeout(PATIENCE), Ok(EndReason::Cut));
    assert_eq!(client.read(&mut [0; 16]).unwrap(), 0);
    assert!(hub.subscriptions() <= 1);
}

/// A shard never ends by itself. If it does (a panic), its streams are cut and it gets no others.
#[test]
fn no_stream_is_left_to_a_shard_that_has_panicked() {
    let rig = Rig::new(&ShardOptions::default());
    let (mut other, ends) = rig.witnessed(None);
    read_to(&mut other, "event: carafe.position\n");
    let frames =
        || block_on(rig.hub.subscribe(Subscribe::to(topic()))).unwrap().into_frames(Format::Plain);
    assert!(rig.shards.serves(&frames()));
    drop(rig.join(None, Watcher::Wrecker));
    assert_eq!(ends.recv_timeout(PATIENCE), Ok(EndReason::Cut));
    let (mut late, ends) = rig.witnessed(None);
    assert_eq!(ends.recv_timeout(PATIENCE), Ok(EndReason::Cut));
    read_to(&mut late, "event: carafe.position\n");
    assert_eq!(late.read(&mut [0; 16]).unwrap(), 0);
    assert!(!rig.shards.serves(&frames()), "streams go by themselves from now on");
}

/// The kernel may refuse to watch a socket. Here it is a file, which it never watches.
#[test]
#[cfg(target_os = "linux")]
fn a_socket_that_cannot_be_watched_ends_its_own_stream_only() {
    let rig = Rig::new(&ShardOptions::default());
    let mut ended = vec![];
    let mut served = vec![];
    for _ in 0..200 {
        let file = std::os::fd::OwnedFd::from(
            std::fs::File::open(std::env::current_exe().unwrap()).unwrap(),
        );
        let (sender, receiver) = channel();
        let mut frames = rig.frames();
        frames.opening();
        let observer = Watcher::Witness(sender);
        rig.shards.add(TcpStream::from(file), NewStream { frames, until: None, observer });
        ended.push(receiver);
        served.push(rig.witnessed(None));
    }
    for receiver in ended {
        assert_eq!(receiver.recv_timeout(PATIENCE), Ok(EndReason::Left));
    }
    rig.publish("for all others");
    for (client, receiver) in &mut served {
        read_to(client, "for all others");
        assert_eq!(receiver.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty));
    }
    assert_eq!(rig.shards.streams(), 200);
}
