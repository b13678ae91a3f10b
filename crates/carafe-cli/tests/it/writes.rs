//! What a shard asks of the kernel, as strace sees it: how often, and in which order.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::clients::{is_here, skip};
use crate::http::{Stream, request};
use crate::process::{Process, Server, carafe, eventually};

/// A hub with one shard whose writes are recorded.
struct Traced {
    hub: Server,
    folder: TempDir,
    shard: String,
}

impl Traced {
    /// `None` where nothing can be traced; says then that `test` is skipped.
    fn start(test: &str) -> Option<Self> {
        if !is_here("strace", test) {
            return None;
        }
        let probe = Command::new("strace").args(["-f", "true"]).output().unwrap();
        if !probe.status.success() {
            skip(test, "strace may not trace here");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("strace");
        // The tracer is the child here, so that what is ended with the test is the hub, and the
        // tracer with it.
        command.args([
            "-D",
            "-f",
            "-qq",
            "-s",
            "400",
            "-e",
            "trace=write,writev,sendto,sendmsg,sendfile",
            "-e",
            "signal=none",
            "-o",
        ]);
        command.arg(Self::record(folder.path())).arg("--").arg(carafe().get_program());
        command.args([
            "serve",
            "--anonymous",
            "subscribe,publish",
            "--log",
            "memory:",
            "--listen",
            "127.0.0.1:0",
        ]);
        command.args([
            "--shards",
            "1",
            "--heartbeat",
            "10min",
            "--subscribers-per-address",
            "10000",
        ]);
        let hub = Server::of(Process::start(&mut command));
        Stream::open(hub.address, "/events/first", &[]);
        let shard = thread_named(hub.id(), "shard-0");
        Some(Self { hub, folder, shard })
    }

    fn record(folder: &Path) -> PathBuf {
        folder.join("record")
    }

    /// The writes of all threads up to now, each after the number of its thread.
    fn all_writes(&self) -> Vec<String> {
        let record = fs::read_to_string(Self::record(self.folder.path())).unwrap();
        // One that another thread's came in between of has two lines.
        record.lines().filter(|line| !line.contains("<... ")).map(ToOwned::to_owned).collect()
    }

    /// The shard's writes up to now: those of its thread, and those of its helper, which runs on
    /// other threads. hyper writes in another way.
    fn writes(&self) -> Vec<String> {
        let is_own = |line: &String| line.starts_with(&*self.shard) || line.contains(" sendto(");
        self.all_writes().into_iter().filter(is_own).collect()
    }

    fn publish(&self, events: &[(&str, &str)]) {
        let line = |(topic, data): &(&str, &str)| {
            format!("{{\"topic\":\"{topic}\",\"data\":\"{data}\"}}\n")
        };
        let batch: String = events.iter().map(line).collect();
        let answer = request(
            self.hub.address,
            "POST",
            "/events",
            &["Content-Type: application/x-ndjson"],
            batch.as_bytes(),
        );
        assert_eq!(answer.status, 201, "{}", answer.body);
    }
}

/// The number of a process's thread, once it has its name.
fn thread_named(process: u32, name: &str) -> String {
    let is_it = |task: &PathBuf| {
        fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    let find = || {
        let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
        tasks.map(|task| task.unwrap().path()).find(is_it)
    };
    eventually("the thread has its name", || find().is_some());
    format!("{} ", find().unwrap().file_name().unwrap().to_str().unwrap())
}

#[test]
fn a_stream_and_an_event_cost_one_write_for_each_subscriber_and_so_do_sixteen_events_at_once() {
    const SUBSCRIBERS: usize = 300;
    let Some(traced) = Traced::start(
        "a_stream_and_an_event_cost_one_write_for_each_subscriber_and_so_do_sixteen_events_at_once",
    ) else {
        return;
    };
    let mut streams: Vec<_> =
        (0..SUBSCRIBERS).map(|_| Stream::open(traced.hub.address, "/events/a", &[])).collect();
    streams
        .iter_mut()
        .for_each(|stream| assert_eq!(stream.next().unwrap().event_type, "carafe.position"));
    let numbers: Vec<_> = (1..=16).map(|number| format!("cup {number}")).collect();
    let openings = |writes: &[String]| {
        let has_both = |write: &&String| {
            write.contains("HTTP/1.1 200 OK") && write.contains("carafe.position")
        };
        writes.iter().filter(has_both).count()
    };
    eventually("all openings are recorded", || openings(&traced.all_writes()) == SUBSCRIBERS + 1);
    assert_eq!(traced.writes().len(), 0, "heads and openings are none of the shard's");
    let mut check_cost = |events: &[(&str, &str)]| {
        let before = traced.writes().len();
        traced.publish(events);
        for stream in &mut streams {
            let data = stream.data(events.len());
            assert!(data.iter().eq(events.iter().map(|(_, data)| data)), "{data:?}");
        }
        // What strace has seen it writes down a moment later.
        eventually("all writes are recorded", || traced.writes().len() >= before + SUBSCRIBERS);
        let writes = &traced.writes()[before..];
        let others: Vec<_> = writes.iter().filter(|write| !write.contains(events[0].1)).collect();
        assert_eq!(writes.len(), SUBSCRIBERS, "{others:?}");
    };
    check_cost(&[("a", "one")]);
    let batch: Vec<_> = numbers.iter().map(|data| ("a", data.as_str())).collect();
    check_cost(&batch);
    check_cost(&[("a", "another one")]);
    traced.end();
}

/// A topic with few subscribers has its turn while another with many is being served.
#[test]
fn an_event_for_many_does_not_keep_those_of_another_topic_waiting() {
    const MANY: usize = 3000;
    let Some(traced) =
        Traced::start("an_event_for_many_does_not_keep_those_of_another_topic_waiting")
    else {
        return;
    };
    let open = |topic: &str, count: usize| -> Vec<_> {
        (0..count)
            .map(|_| Stream::open(traced.hub.address, &format!("/events/{topic}"), &[]))
            .collect()
    };
    let (mut many, mut few) = (open("many", MANY), open("few", 10));
    for stream in many.iter_mut().chain(&mut few) {
        assert_eq!(stream.next().unwrap().event_type, "carafe.position");
    }
    // A stream whose opening has arrived may still be on its way to the shard.
    traced.publish(&[("many", "first"), ("few", "first")]);
    for stream in many.iter_mut().chain(&mut few) {
        assert_eq!(stream.data(1), ["first"]);
    }
    traced.publish(&[("many", "to many"), ("few", "to few")]);
    for stream in &mut many {
        assert_eq!(stream.data(1), ["to many"]);
    }
    for stream in &mut few {
        assert_eq!(stream.data(1), ["to few"]);
    }
    let count =
        |writes: &[String], what: &str| writes.iter().filter(|write| write.contains(what)).count();
    eventually("all writes are recorded", || {
        let writes = traced.writes();
        count(&writes, "to many") == MANY && count(&writes, "to few") == 10
    });
    let writes = traced.writes();
    let last_of_few = writes.iter().rposition(|write| write.contains("to few")).unwrap();
    let before = count(&writes[..last_of_few], "to many");
    assert!(before < MANY / 4, "{before} of the many were served first");
    traced.end();
}

impl Traced {
    /// Ends the hub before the folder is gone.
    fn end(self) {
        let pid = Pid::from_raw(self.hub.id().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        self.hub.wait();
    }
}
