//! Helpers: who delivers, and that nothing is lost, doubled or reordered between helper and thread.

use std::io::Read;
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::task::{Context, Waker};
use std::thread::{ThreadId, current, scope, spawn};
use std::time::{Duration, Instant};

use carafe_fanout::{EndReason, ShardHelper, ShardOptions};
use futures_executor::block_on;

use crate::ends::{PATIENCE, Rig, Watcher, read_to};

/// Polls as an executor does that was woken: until the helper has taken its turn.
fn poll(helper: &mut ShardHelper<Watcher>) {
    let mut cx = Context::from_waker(Waker::noop());
    // It may give way to other tasks once.
    (0..2).for_each(|_| assert!(Pin::new(&mut *helper).poll(&mut cx).is_pending()));
}

fn joined(rig: &Rig) -> (TcpStream, Receiver<ThreadId>) {
    let (sender, sent) = channel();
    (rig.join(None, Watcher::Sent(sender)), sent)
}

/// Publishes until an event finds the thread waiting, so that the helper delivers it. Returns how
/// many events that took.
#[track_caller]
fn publish_until_helped(
    rig: &Rig,
    helper: &mut ShardHelper<Watcher>,
    sent: &Receiver<ThreadId>,
) -> usize {
    let deadline = Instant::now() + PATIENCE;
    for number in 0.. {
        rig.publish(format!("number {number}"));
        poll(helper);
        if sent.recv_timeout(PATIENCE) == Ok(current().id()) {
            return number;
        }
        assert!(Instant::now() < deadline, "the helper delivers nothing");
    }
    unreachable!("the deadline comes first")
}

#[test]
fn a_helper_delivers_while_the_thread_waits() {
    let rig = Rig::new(&ShardOptions::default());
    let (mut client, sent) = joined(&rig);
    let mut helper = rig.helper();
    poll(&mut helper);
    let last = publish_until_helped(&rig, &mut helper, &sent);
    let all = read_to(&mut client, &format!("data: number {last}\n"));
    assert_eq!(all.matches("data: number").count(), last + 1);
}

/// A broadcast goes from the last member to the first.
#[test]
fn the_thread_continues_what_is_too_much_for_a_helper() {
    let rig = Rig::new(&ShardOptions::default());
    let mut clients: Vec<_> = (0..200).map(|_| joined(&rig)).collect();
    let mut helper = rig.helper();
    poll(&mut helper);
    let last = publish_until_helped(&rig, &mut helper, &clients[199].1);
    let event = format!("data: number {last}\n");
    clients.iter_mut().for_each(|(client, _)| drop(read_to(client, &event)));
    let own = current().id();
    let by_helper = |(_, sent): &(_, Receiver<_>)| sent.try_iter().filter(|by| *by == own).count();
    let helped: usize = clients.iter().map(by_helper).sum();
    assert!(helped < 100, "{helped} writes in one turn");
}

#[test]
fn the_thread_does_what_a_dropped_helper_was_woken_for() {
    let rig = Rig::new(&ShardOptions::default());
    let (mut client, sent) = joined(&rig);
    let mut helper = rig.helper();
    poll(&mut helper);
    publish_until_helped(&rig, &mut helper, &sent);
    rig.publish("last");
    drop(helper);
    read_to(&mut client, "data: last\n");
}

#[test]
fn a_shard_ends_when_its_helper_panics() {
    let rig = Rig::new(&ShardOptions::default());
    let (mut client, sent) = joined(&rig);
    let mut helper = rig.helper();
    poll(&mut helper);
    publish_until_helped(&rig, &mut helper, &sent);
    let wrecker = rig.join(None, Watcher::SendWrecker);
    let (mut other, ends) = rig.witnessed(None);
    rig.publish("wrecked");
    // Either of the two panics, the helper or the thread.
    drop(catch_unwind(AssertUnwindSafe(move || {
        poll(&mut helper);
        drop(helper);
    })));
    assert_eq!(ends.recv_timeout(PATIENCE), Ok(EndReason::Cut));
    other.read_to_end(&mut Vec::new()).unwrap();
    client.read_to_end(&mut Vec::new()).unwrap();
    drop(wrecker);
}

#[test]
fn a_helper_ends_with_its_shard() {
    let rig = Rig::new(&ShardOptions::default());
    let helper = rig.helper();
    let running = spawn(move || block_on(helper));
    let (_client, ends) = rig.witnessed(None);
    assert_eq!(ends.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
    drop(rig);
    running.join().unwrap();
    assert_eq!(ends.recv_timeout(PATIENCE), Ok(EndReason::Cut));
}

/// Publishers, clients that stay, and clients that come and leave, so that IDs are reused.
/// More bytes than an event of these tests takes.
const LAST: usize = 200;

/// Reads until the last event, which has this line, in large parts: there is much to read.
fn read_up_to_last(client: &mut TcpStream, wanted: &str) -> String {
    let (mut read, mut part) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let length = client.read(&mut part).unwrap();
        assert!(length > 0, "the stream has ended");
        read.extend_from_slice(&part[..length]);
        let last = read.len().saturating_sub(LAST);
        if read[last..].windows(wanted.len()).any(|bytes| bytes == wanted.as_bytes()) {
            return String::from_utf8(read).unwrap();
        }
    }
}

#[test]
fn each_client_receives_every_event_once_and_in_order_from_helper_and_thread() {
    const EVENTS: usize = 3000;
    let rig = Rig::new(&ShardOptions::default());
    let helper = rig.helper();
    let running = spawn(move || block_on(helper));
    let (clients, _ends): (Vec<_>, Vec<_>) = (0..40).map(|_| rig.witnessed(None)).unzip();
    scope(|scope| {
        for mut client in clients {
            scope.spawn(move || {
                let all = read_up_to_last(&mut client, &format!("data: {}\n", EVENTS - 1));
                // The data of the position is JSON.
                let data = all.lines().filter_map(|line| line.strip_prefix("data: "));
                let numbers = data.filter(|data| !data.starts_with('{'));
                let numbers: Vec<usize> = numbers.map(|number| number.parse().unwrap()).collect();
                assert!(numbers.into_iter().eq(0..EVENTS));
            });
        }
        scope.spawn(|| {
            for _ in 0..50 {
                let (client, ends) = rig.witnessed(None);
                drop(client);
                assert_eq!(ends.recv_timeout(PATIENCE), Ok(EndReason::Left));
            }
        });
        (0..EVENTS).for_each(|number| rig.publish(number.to_string()));
    });
    rig.is_left_by_all();
    drop(rig);
    running.join().unwrap();
}
