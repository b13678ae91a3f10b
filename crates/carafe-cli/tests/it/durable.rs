//! What was answered with 201 is there, whatever happened to the process.

use std::fs::{self, Permissions};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::clients::{Client, Shown, is_here, next_shown, node, skip};
use crate::http::{Stream, post, publish};
use crate::metrics::Metrics;
use crate::process::{PATIENCE, Process, Server, carafe};
use crate::proxy::{Cut, Proxy};

pub(crate) fn log() -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    (folder, log)
}

/// The hub is killed and started again, and the client notices nothing but a lost connection.
#[track_caller]
fn goes_on_after_a_crash(client: Client, test: &str) {
    if !client.is_here(test) {
        return;
    }
    let (_folder, log) = log();
    let first = Server::on_disk(&log, &["--retry", "50ms"]);
    let proxy = Proxy::start(first.address, 0, Cut::Anywhere);
    let reading = client.read(proxy.address, "/events/orders", 3);
    assert_eq!(next_shown(&reading).event_type, "carafe.position");
    let before = publish(first.address, "/events/orders", "before");
    let message = |id: &str, data: &str| Shown {
        event_type: "message".into(),
        id: id.into(),
        data: data.into(),
    };
    assert_eq!(next_shown(&reading), message(&before, "before"));
    proxy.hold();
    let away = publish(first.address, "/events/orders", "while the client was away");
    first.kill();

    let second = Server::on_disk(&log, &["--retry", "50ms"]);
    proxy.retarget(second.address);
    assert_eq!(next_shown(&reading).event_type, "carafe.position", "and no gap");
    assert_eq!(next_shown(&reading), message(&away, "while the client was away"));
    let after = publish(second.address, "/events/orders", "after");
    assert_eq!(next_shown(&reading), message(&after, "after"));
    assert!(reading.wait().success());
}

#[test]
fn node_resumes_after_a_crash() {
    goes_on_after_a_crash(Client::Node, "node_resumes_after_a_crash");
}

#[test]
fn python_resumes_after_a_crash() {
    goes_on_after_a_crash(Client::Python, "python_resumes_after_a_crash");
}

#[test]
fn chromium_resumes_after_a_crash() {
    goes_on_after_a_crash(Client::Browser, "chromium_resumes_after_a_crash");
}

#[test]
fn carafe_subscribe_resumes_after_a_crash() {
    let (_folder, log) = log();
    let first = Server::on_disk(&log, &["--retry", "50ms"]);
    let proxy = Proxy::start(first.address, 0, Cut::Anywhere);
    let url = format!("http://{}", proxy.address);
    let reading =
        Process::start(carafe().args(["subscribe", "a", "--earliest", "-n", "2", "--url", &url]));
    publish(first.address, "/events/a", "before");
    assert_eq!(reading.stdout.recv_timeout(PATIENCE).unwrap(), "before");
    proxy.hold();
    publish(first.address, "/events/a", "away");
    first.kill();
    let second = Server::on_disk(&log, &[]);
    proxy.retarget(second.address);
    assert_eq!(reading.stdout.recv_timeout(PATIENCE).unwrap(), "away");
    assert!(reading.stderr.try_iter().all(|line| !line.contains("gap")));
}

#[test]
fn the_page_resumes_after_a_restart() {
    if !is_here("browser", "the_page_resumes_after_a_restart") {
        return;
    }
    let (_folder, log) = log();
    let first = Server::dev_on_disk(&log);
    let proxy = Proxy::start(first.address, 0, Cut::Anywhere);
    let base = format!("http://{}", proxy.address);
    let page =
        Process::start(node("tests/browser/console-restart.mjs").args([&base, "--without-gap"]));
    page.next_line(|line| line.contains("\"ready\""));
    proxy.hold();
    first.kill();
    let second = Server::dev_on_disk(&log);
    proxy.retarget(second.address);
    let end = page.next_line(|line| line.contains("\"gap\":null"));
    assert!(page.wait().success(), "{end}");
}

#[test]
fn a_key_is_known_after_a_restart() {
    let (_folder, log) = log();
    let first = Server::on_disk(&log, &[]);
    let id = publish(first.address, "/events/a?id=k", "once");
    first.terminate();
    assert!(first.wait().success());
    let second = Server::on_disk(&log, &[]);
    assert_eq!(publish(second.address, "/events/a?id=k", "twice"), id);
    publish(second.address, "/events/a", "end");
    assert_eq!(Stream::open(second.address, "/events/a?earliest", &[]).data(2), ["once", "end"]);
}

fn carafe_log(command: &str, log: &Path) -> Output {
    carafe().args(["log", command]).arg(log).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_log_is_open_in_one_process_at_a_time() {
    let (_folder, log) = log();
    let hub = Server::on_disk(&log, &[]);
    let place = format!("disk:{}", log.display());
    let second =
        carafe().args(["dev", "--listen", "127.0.0.1:0", "--log", &place]).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(
        text(&second.stderr).contains("another process has this log open"),
        "{}",
        text(&second.stderr)
    );
    let verify = carafe_log("verify", &log);
    assert!(text(&verify.stderr).contains("another process has this log open"));
    publish(hub.address, "/events/a", "not disturbed");
}

#[test]
fn events_of_some_topics_are_shown_for_a_shorter_time() {
    let (_folder, log) = log();
    let hub = Server::on_disk(&log, &["--retain", "brief/*=1ms"]);
    let first = publish(hub.address, "/events/orders", "first");
    let over = publish(hub.address, "/events/brief/a", "over soon");
    publish(hub.address, "/events/orders", "second");
    thread::sleep(Duration::from_millis(2));
    let mut stream = Stream::open(hub.address, "/events", &[&format!("Last-Event-ID: {first}")]);
    assert_eq!(stream.next().unwrap().event_type, "carafe.position");
    let gap = stream.next().unwrap();
    assert_eq!(
        (gap.event_type.as_str(), gap.last_event_id.as_str()),
        ("carafe.gap", over.as_str())
    );
    assert_eq!(stream.data(1), ["second"]);
}

#[test]
fn a_damaged_log_is_refused_verified_and_repaired() {
    let (_folder, log) = log();
    let hub = Server::on_disk(&log, &["--segment-bytes", "4KiB"]);
    let ids: Vec<_> =
        (0..200).map(|number| publish(hub.address, "/events/a", &number.to_string())).collect();
    hub.terminate();
    assert!(hub.wait().success());
    let good = carafe_log("verify", &log);
    assert!(good.status.success() && good.stdout.is_empty(), "{}", text(&good.stderr));
    let stat = text(&carafe_log("stat", &log).stdout);
    assert!(
        stat.contains("entries   200\n") && stat.contains(&format!("newest    {}\n", ids[199])),
        "{stat}"
    );

    let mut names: Vec<_> =
        fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|name| name.extension().is_some_and(|extension| extension == "segment"));
    names.sort();
    let newest = names.last().unwrap();
    let mut bytes = fs::read(newest).unwrap();
    bytes[80] ^= 1;
    fs::write(newest, bytes).unwrap();

    let place = format!("disk:{}", log.display());
    let refused =
        carafe().args(["dev", "--listen", "127.0.0.1:0", "--log", &place]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("the log is damaged"), "{}", text(&refused.stderr));
    let verify = carafe_log("verify", &log);
    assert_eq!(verify.status.code(), Some(1));
    let name = newest.file_name().unwrap().to_str().unwrap();
    assert!(
        text(&verify.stdout)
            .starts_with(&format!("{name}: it is not what was written from byte 48 on"))
    );
    let asked = carafe_log("repair", &log);
    assert_eq!(asked.status.code(), Some(1), "it does not go on without --yes");
    let report =
        text(&carafe().args(["log", "repair", "--dry-run"]).arg(&log).output().unwrap().stdout);
    assert_eq!(report, text(&asked.stdout));
    for part in [
        "is not what was written from byte 48 on",
        &format!("entry {} is lost, stored between", first_of(newest)),
        "an erasure among them does not hold any more",
        "199 entries are whole",
    ] {
        assert!(report.contains(part), "{report}");
    }
    assert!(report.contains(&format!("is kept as {}.damaged", newest.display())), "{report}");
    assert_eq!(carafe_log("verify", &log).status.code(), Some(1), "nothing was changed");
    assert!(carafe().args(["log", "repair", "--yes"]).arg(&log).output().unwrap().status.success());
    let verified = carafe_log("verify", &log);
    assert!(verified.status.success());
    let kept = format!("{name}.damaged: a repair has kept it; it may have erased events");
    assert!(text(&verified.stdout).contains(&kept), "{}", text(&verified.stdout));

    let hub = Server::on_disk(&log, &[]);
    let mut stream =
        Stream::open(hub.address, "/events/a", &[&format!("Last-Event-ID: {}", ids[9])]);
    assert_eq!(stream.next().unwrap().event_type, "carafe.position");
    let lost: usize = first_of(newest) - 1;
    let numbers =
        |numbers: Range<usize>| numbers.map(|number| number.to_string()).collect::<Vec<_>>();
    assert_eq!(stream.data(lost - 10), numbers(10..lost));
    let gap = stream.next().unwrap();
    let gap_data: Value = serde_json::from_str(&gap.data).unwrap();
    assert_eq!((gap.event_type.as_str(), &gap_data["reason"]), ("carafe.gap", &"lost".into()));
    assert_eq!(stream.data(199 - lost), numbers(lost + 1..200));
}

/// The offset of a segment's first entry.
fn first_of(segment: &Path) -> usize {
    segment.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

/// A tmpfs of 2 MiB that only the program sees, half of it taken by another file; `None` where the
/// kernel allows none.
fn on_a_small_disk(test: &str) -> Option<(TempDir, Server)> {
    let folder = tempfile::tempdir().unwrap();
    let namespace = ["--user", "--map-root-user", "--mount", "sh", "-c"];
    let mount = "mount -t tmpfs -o size=2m tmpfs \"$0\" && head -c 1m /dev/zero > \"$0/other\"";
    let probe = Command::new("unshare").args(namespace).arg(mount).arg(folder.path()).output();
    if !probe.as_ref().is_ok_and(|probe| probe.status.success()) {
        let reason = probe.map_or_else(|error| error.to_string(), |probe| text(&probe.stderr));
        skip(test, &format!("no tmpfs can be mounted: {}", reason.trim()));
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(namespace).arg(format!("{mount} && exec \"$@\"")).arg(folder.path());
    let log = format!("disk:{}", folder.path().join("log").display());
    command.arg(carafe().get_program()).args(["serve", "--anonymous", "subscribe,publish"]);
    command.args(["--log", &log, "--segment-bytes", "256KiB", "--listen", "127.0.0.1:0"]);
    command.args(["--metrics-listen", "127.0.0.1:0"]);
    let hub = Server::of(Process::start(&mut command));
    Some((folder, hub))
}

/// The kernel sends SIGXFSZ, which ends a process that does not handle it.
#[test]
fn a_limit_on_file_sizes_is_like_a_full_disk() {
    let (_folder, log) = log();
    let mut command = Command::new("bash");
    // In units of 1024 bytes.
    command.args(["-c", "ulimit -f 512 && exec \"$@\"", "bash"]).arg(carafe().get_program());
    command.args(["serve", "--anonymous", "subscribe,publish", "--listen", "127.0.0.1:0"]);
    command.args(["--segment-bytes", "64KiB", "--log", &format!("disk:{}", log.display())]);
    let hub = Server::of(Process::start(&mut command));
    let before = publish(hub.address, "/events/a", "before");
    let refused = post(hub.address, "/events/a", &"x".repeat(700 << 10));
    assert_eq!(refused.status, 507, "{}", refused.body);
    publish(hub.address, "/events/a", "after");
    let mut stream = Stream::open(hub.address, "/events/a", &[&format!("Last-Event-ID: {before}")]);
    assert_eq!(stream.next().unwrap().event_type, "carafe.position");
    assert_eq!(stream.data(1), ["after"]);
    hub.terminate();
    assert!(hub.wait().success());
    assert!(carafe_log("verify", &log).status.success());
}

#[test]
fn a_full_disk_refuses_publishers_with_507_serves_readers_and_recovers_by_itself() {
    let name = "a_full_disk_refuses_publishers_with_507_serves_readers_and_recovers_by_itself";
    let Some((folder, hub)) = on_a_small_disk(name) else { return };
    let metrics = Metrics::of(&hub);
    let data = |number: usize| format!("{number} {}", "x".repeat(20_000));
    let mut stored = 0;
    let refused = loop {
        let answer = post(hub.address, "/events/a", &data(stored));
        if answer.status != 201 {
            break answer;
        }
        stored += 1;
        assert!(stored < 100, "2 MiB hold less");
    };
    assert_eq!(refused.status, 507);
    assert_eq!(refused.json()["type"], "urn:carafe:problem:disk-full");
    assert_eq!((refused.header("retry-after"), metrics.limited("disk-full")), (Some("10"), 1.0));
    assert!(stored > 10, "{stored} events were stored in 1 MiB");
    assert_eq!(post(hub.address, "/events/a", &data(stored)).status, 507, "and again");
    let mut reader = Stream::open(hub.address, "/events/a?earliest", &[]);
    let read = |reader: &mut Stream, range: Range<usize>| {
        assert!(
            reader.data(range.len()) == range.map(data).collect::<Vec<_>>(),
            "what was stored is read, and no more"
        );
    };
    read(&mut reader, 0..stored);

    let inside = format!("/proc/{}/root{}/other", hub.id(), folder.path().display());
    fs::remove_file(inside).unwrap();
    for number in stored..stored + 10 {
        assert_eq!(post(hub.address, "/events/a", &data(number)).status, 201);
    }
    read(&mut reader, stored..stored + 10);
    read(&mut Stream::open(hub.address, "/events/a?earliest", &[]), 0..stored + 10);
}

#[test]
fn after_a_failed_sync_there_is_no_further_201_and_the_program_ends_with_the_reason() {
    let name = "after_a_failed_sync_there_is_no_further_201_and_the_program_ends_with_the_reason";
    if !is_here("strace", name) {
        return;
    }
    let probe = Command::new("strace")
        .args(["-f", "-e", "inject=fdatasync:error=EIO", "true"])
        .output()
        .unwrap();
    if !probe.status.success() {
        return skip(name, &format!("strace may not trace here: {}", text(&probe.stderr).trim()));
    }
    let (_folder, log) = log();
    let mut command = Command::new("strace");
    // Counted for each thread: the one that writes commits twice.
    command.args([
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "inject=fdatasync:error=EIO:when=3+",
        "--",
    ]);
    command.arg(carafe().get_program()).args(["serve", "--anonymous", "subscribe,publish"]);
    command.args(["--listen", "127.0.0.1:0", "--log", &format!("disk:{}", log.display())]);
    let hub = Server::of(Process::start(&mut command));
    let mut reader = Stream::open(hub.address, "/events/a", &[]);
    let acknowledged =
        [publish(hub.address, "/events/a", "one"), publish(hub.address, "/events/a", "two")];
    let refused = post(hub.address, "/events/a", "three");
    assert_eq!(refused.status, 503, "{}", refused.body);
    let seen: Vec<_> =
        std::iter::from_fn(|| reader.next()).skip(1).map(|event| event.last_event_id).collect();
    assert_eq!(
        seen, acknowledged,
        "the stream ends in order, and never showed what was not stored"
    );
    let process = hub.process();
    let reason = process.next_record(|line| line.starts_with("carafe: "));
    assert!(reason.starts_with("carafe: the log failed: a commit cannot be written: "), "{reason}");
    assert_eq!(process.wait().code(), Some(1));

    let again = Server::on_disk(&log, &[]);
    assert_eq!(Stream::open(again.address, "/events/a?earliest", &[]).data(2), ["one", "two"]);
}

#[test]
fn a_log_and_a_secret_that_others_may_read_are_warned_of() {
    let (folder, log) = log();
    let secret = folder.path().join("secret");
    fs::write(&secret, "x".repeat(64)).unwrap();
    fs::create_dir(&log).unwrap();
    let warnings = |mode: u32| {
        for path in [&secret, &log] {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        let (disk, secret) = (format!("disk:{}", log.display()), secret.display().to_string());
        let serve = ["serve", "--listen", "127.0.0.1:0", "--log", &disk, "--secret-file", &secret];
        let mut said = Vec::new();
        drop(Server::of_hearing(Process::start(carafe().args(serve)), &mut said));
        said.retain(|line| line.contains("chmod"));
        said
    };
    let shared = warnings(0o755);
    let advice =
        [format!("chmod o= {}", secret.display()), format!("chmod -R go= {}", log.display())];
    assert!(
        shared.len() == 2
            && advice.iter().all(|advice| shared.iter().any(|line| line.ends_with(advice))),
        "{shared:?}"
    );
    assert_eq!(warnings(0o700), [""; 0]);
}

/// The case: such a client waited in silence until the log had passed what it had seen.
#[test]
fn a_client_that_has_seen_more_than_a_restored_log_gets_a_gap_and_the_rest() {
    let (folder, log) = log();
    let backup = folder.path().join("backup");
    let hub = Server::on_disk(&log, &[]);
    let mut ids: Vec<_> =
        (1..=5).map(|number| publish(hub.address, "/events/a", &number.to_string())).collect();
    copy_segments(&log, &backup);
    ids.extend((6..=15).map(|number| publish(hub.address, "/events/a", &number.to_string())));
    let open = carafe_log("restore", &log);
    assert!(
        text(&open.stderr).contains("another process has this log open"),
        "{}",
        text(&open.stderr)
    );
    hub.terminate();
    assert!(hub.wait().success());

    let restored = carafe_log("restore", &backup);
    assert_eq!(text(&restored.stdout), format!("started a new generation after {}\n", ids[4]));
    let hub = Server::on_disk(&backup, &[]);
    (16..=18).for_each(|number| drop(publish(hub.address, "/events/a", &number.to_string())));
    for seen in [5, 6, 9, 14] {
        let mut stream =
            Stream::open(hub.address, "/events/a", &[&format!("Last-Event-ID: {}", ids[seen])]);
        let gap = stream.next().unwrap();
        let gap_data: Value = serde_json::from_str(&gap.data).unwrap();
        assert_eq!((gap.event_type.as_str(), &gap_data["reason"]), ("carafe.gap", &"lost".into()));
        assert_eq!(gap.last_event_id, ids[4], "the stream goes on after the common part");
        assert_eq!(stream.data(3), ["16", "17", "18"]);
    }
    let mut common =
        Stream::open(hub.address, "/events/a", &[&format!("Last-Event-ID: {}", ids[3])]);
    assert_eq!(common.next().unwrap().event_type, "carafe.position");
    assert_eq!(common.data(4), ["5", "16", "17", "18"]);
}

/// As OPERATIONS.md says: the names first, then the newest segment first.
fn copy_segments(log: &Path, backup: &Path) {
    fs::create_dir(backup).unwrap();
    let mut names: Vec<_> =
        fs::read_dir(log).unwrap().map(|file| file.unwrap().file_name()).collect();
    names.sort();
    for name in names.iter().rev().filter(|name| name.to_str().unwrap().ends_with(".segment")) {
        fs::copy(log.join(name), backup.join(name)).unwrap();
    }
}
