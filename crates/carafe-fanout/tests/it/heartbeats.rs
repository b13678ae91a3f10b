//! Heartbeats as each client wants them.

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::time::Duration;

use carafe_fanout::ShardOptions;
use carafe_hub::Heartbeat;

use crate::ends::{Rig, Watcher};

/// Reads until so many lines were as wanted.
#[track_caller]
fn read(client: &TcpStream, count: usize, line: &str) {
    let lines = BufReader::new(client).lines().map(Result::unwrap);
    assert_eq!(lines.filter(|found| found == line).take(count).count(), count);
}

/// The shard itself would send its first heartbeat after an hour.
#[test]
fn a_client_that_wants_heartbeats_more_often_receives_them_and_no_other_does() {
    let rig = Rig::with_heartbeat(&ShardOptions::default(), Duration::from_secs(3600));
    let often = Duration::from_millis(100);
    // A watcher that does not mind that nobody listens when its stream ends.
    let watcher = || Watcher::Sent(channel().0);
    let usual = rig.join(None, watcher());
    let join = |heartbeat| rig.join_wanting(heartbeat, watcher());
    let event = join(Heartbeat::event().every(often));
    let comment = join(Heartbeat::comment().every(often));
    read(&event, 3, "event: carafe.heartbeat");
    read(&comment, 3, ":");
    let mut received = String::new();
    usual.set_nonblocking(true).unwrap();
    let error = (&usual).read_to_string(&mut received).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert_eq!(received.matches("event: carafe.position").count(), 1, "{received}");
    assert!(received.ends_with("\n\n\r\n"), "no heartbeat came after the position: {received}");
}

#[test]
fn another_client_with_the_id_of_one_that_left_receives_its_own_heartbeats() {
    let rig = Rig::with_heartbeat(&ShardOptions::default(), Duration::from_secs(3600));
    let often = Heartbeat::event().every(Duration::from_millis(100));
    for _ in 0..3 {
        let (sender, ends) = channel();
        let client = rig.join_wanting(often, Watcher::Witness(sender));
        read(&client, 2, "event: carafe.heartbeat");
        drop(client);
        ends.recv().unwrap();
        rig.is_left_by_all();
    }
}
