//! Half of the connections stop reading: what that costs the hub, and the others.

use std::thread;
use std::time::{Duration, Instant};

use crate::bench::Bench;
use crate::driver::Load;
use crate::figure::Limit;
use crate::outcome::Outcome;
use crate::section::Section;
use crate::series::Series;
use crate::server::Server;
use crate::usage;

/// As many read on.
const STALLED: usize = 8_000;

/// Far more than the kernel holds for a connection.
const FLOOD: &str = "--payload 16384 -n 16";

/// How long a client may take nothing before the hub cuts it; measuring is over by then.
const CUT_AFTER: &str = "15s";
const PATIENCE: Duration = Duration::from_secs(60);

/// What the 99th percentile of the others is, in microseconds, and what a stalled connection takes.
struct Stalled {
    alone: f64,
    before: f64,
    after: f64,
    user: f64,
    kernel: f64,
}

pub(crate) fn measure(bench: &Bench) -> Outcome<Section> {
    let stalled = bench.connections(STALLED);
    let Stalled { alone, before, after, user, kernel } = stall(bench, stalled)?;
    let mut section =
        Section::new(format!("{stalled} of {} connections stop reading", 2 * stalled));
    section.head(&["", "alone", "before", "after"]);
    section.row(vec![
        "99 % of the others have an event within, ms".into(),
        ms(alone),
        ms(before),
        ms(after),
    ]);
    section.note(format!(
        "For each stalled connection: {user:.0} bytes of user memory, {kernel:.0} in the kernel's \
         send queue. All were disconnected after {CUT_AFTER}, reconnected, and received what they \
         had missed."
    ));
    let bytes = Series::of([user + kernel]);
    section.demand("bytes on our side for a stalled connection", bytes, Limit::AtMost(65536.0));
    let ratio = Series::of([after / before]);
    section.demand("99 % of the others' latency, after / before", ratio, Limit::AtMost(1.2));
    Ok(section)
}

fn stall(bench: &Bench, stalled: usize) -> Outcome<Stalled> {
    let options = ["--log", "memory:", "--write-timeout", CUT_AFTER];
    let server = Server::carafe(&bench.carafe, &options, bench.server)?;
    let load = |options: &str| {
        let options = format!("-c {stalled} {options}");
        Load::connected(&server.url("/events/bench"), &options, bench.load)
    };
    let mut others = load(&format!("--rate 5 --duration {}s --rounds 5", bench.seconds(5)))?;
    let mut p99 = || -> Outcome<f64> { Ok(others.round()?.latency.p99 as f64) };
    p99()?;
    let alone = p99()?;
    let reading = load("-n 0")?;
    let before = p99()?;
    drop(reading);

    let mut stopped = load(&format!("--stalled {stalled} --resume {FLOOD} --rounds 2"))?;
    let idle = server.memory()?.anonymous;
    stopped.round()?;
    // The others have had the flood by the end of one more round.
    p99()?;
    let after = p99()?;
    let each = |bytes: u64| bytes as f64 / stalled as f64;
    let user = each(server.memory()?.anonymous.saturating_sub(idle));
    let kernel = each(usage::send_queues(server.address.port())?);
    wait_until_they_are_cut(&server)?;
    // They come back for all that they lack; the load fails otherwise.
    stopped.round()?;
    Ok(Stalled { alone, before, after, user, kernel })
}

/// A connection that is cut has no queue any longer.
fn wait_until_they_are_cut(server: &Server) -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    while usage::send_queues(server.address.port())? > 0 {
        if Instant::now() > deadline {
            return Err(
                format!("connections that do not read are not cut after {CUT_AFTER}").into()
            );
        }
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn ms(microseconds: f64) -> String {
    format!("{:.2}", microseconds / 1000.0)
}
