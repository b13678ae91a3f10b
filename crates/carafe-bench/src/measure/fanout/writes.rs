//! The number of system calls per delivery.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::bench::Bench;
use crate::child::Program;
use crate::driver::Load;
use crate::figure::Limit;
use crate::outcome::Outcome;
use crate::section::Section;
use crate::series::Series;
use crate::subject::Subject;

const SUBSCRIBERS: usize = 2_000;
const EVENTS: u64 = 48;

/// All that can write to a socket.
const CALLS: &str =
    "trace=write,writev,pwritev2,sendto,sendmsg,sendmmsg,sendfile,splice,io_uring_enter";

pub(crate) fn measure(bench: &Bench) -> Outcome<Section> {
    let mut section = Section::new("System calls that write, for a delivery");
    section.head(&["events in flight", "calls a delivery"]);
    let one = writes(bench, 1)?;
    section.row(vec!["1".into(), format!("{one:.3}")]);
    section.row(vec!["16".into(), format!("{:.3}", writes(bench, 16)?)]);
    // Besides, there are the answers to publishers, and what wakes a thread.
    section.demand("calls a delivery, one event in flight", Series::of([one]), Limit::AtMost(1.02));
    Ok(section)
}

fn writes(bench: &Bench, window: usize) -> Outcome<f64> {
    let server = Subject::Carafe.start(&bench.carafe, bench.server)?;
    let subscribers = bench.connections(SUBSCRIBERS);
    let options = format!("-c {subscribers} -n {EVENTS} --window {window}");
    let mut load = Load::connected(&server.url("/events/bench"), &options, bench.load)?;
    let folder = tempfile::tempdir()?;
    let counts = folder.path().join("counts");
    let strace = attach(server.id(), &counts)?;
    let report = load.round()?;
    strace.interrupt()?;
    Ok(calls(&fs::read_to_string(&counts)?)? as f64 / report.deliveries as f64)
}

/// Counts the calls of all its threads until it is interrupted.
fn attach(id: u32, counts: &Path) -> Outcome<Program> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-e", CALLS, "-o"]).arg(counts).args(["-p", &id.to_string()]);
    let strace = Program::start(&strace, None)?;
    strace.wait_for_words("attached")?;
    Ok(strace)
}

/// The sum of the column `calls`, which is the fourth.
fn calls(counts: &str) -> Outcome<u64> {
    let total =
        counts.lines().find(|line| line.ends_with(" total")).ok_or("strace counted nothing")?;
    Ok(total.split_ascii_whitespace().nth(3).ok_or("strace has no column of calls")?.parse()?)
}

#[cfg(test)]
mod tests {
    use super::calls;

    #[test]
    fn the_calls_are_those_of_the_last_line() {
        let counts = "% time     seconds  usecs/call     calls    errors syscall\n\
            ------ ----------- ----------- --------- --------- ----------------\n \
            99.00    0.500000           5     96000           sendto\n  \
            1.00    0.000100           1        48           writev\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
            100.00    0.500100           5     96048           total\n";
        assert_eq!(calls(counts).unwrap(), 96048);
        assert!(calls("").is_err());
    }
}
