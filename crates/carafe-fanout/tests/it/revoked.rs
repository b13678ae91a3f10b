//! Streams that end because they were revoked.

use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use carafe_fanout::ShardOptions;

use crate::ends::{Rig, Watcher};

#[test]
fn a_review_ends_the_streams_that_were_revoked_and_no_others() {
    let rig = Rig::new(&ShardOptions::default());
    let (revoked, (sender, ends)) = (Arc::new(AtomicBool::new(false)), channel());
    let mut ending: Vec<_> = (0..200)
        .map(|_| rig.join(None, Watcher::Revocable(Arc::clone(&revoked), sender.clone())))
        .collect();
    let (mut other, _others_end) = rig.witnessed(None);
    rig.review();
    rig.publish("one");
    for client in ending.iter_mut().chain([&mut other]) {
        assert!(!read_until(client, "data: one\n").contains("carafe.expired"));
    }
    revoked.store(true, Ordering::SeqCst);
    rig.review();
    for client in &mut ending {
        let mut sent = String::new();
        client.read_to_string(&mut sent).unwrap();
        assert_eq!(sent.matches("event: carafe.expired\n").count(), 1, "{sent}");
        assert!(sent.ends_with("\r\n0\r\n\r\n"), "the stream ends in order: {sent}");
    }
    assert_eq!(ends.iter().take(200).count(), 200);
    rig.publish("two");
    assert!(!read_until(&mut other, "data: two\n").contains("carafe.expired"));
}

/// What the client receives up to the first `end`.
fn read_until(client: &mut TcpStream, end: &str) -> String {
    let mut sent = String::new();
    while !sent.ends_with(end) {
        let mut byte = [0];
        client.read_exact(&mut byte).expect("the stream continues");
        sent.push(byte[0].into());
    }
    sent
}

#[test]
fn a_stream_that_was_revoked_on_its_way_to_the_shard_ends_without_a_review() {
    let rig = Rig::new(&ShardOptions::default());
    let (sender, ends) = channel();
    let mut client = rig.join(None, Watcher::Revocable(Arc::new(true.into()), sender));
    let mut sent = String::new();
    client.read_to_string(&mut sent).unwrap();
    assert_eq!(sent.matches("event: carafe.expired\n").count(), 1, "{sent}");
    assert!(ends.recv().is_ok());
}
