//! Half of the connections stop reading: what that costs the hub, and the others.

use crate::Outcome;
use crate::figure::Limit;
use crate::load::Load;
use crate::section::Section;
use crate::series::Series;
use crate::subject::Subject;
use crate::usage;

use super::Bench;

/// As many read on.
const STALLED: usize = 8_000;

/// Far more than the kernel holds for a connection.
const FLOOD: &str = "--payload 16384 -n 16";

pub(crate) fn measure(bench: &Bench) -> Outcome<Section> {
    let stalled = bench.connections(STALLED);
    let server = Subject::Carafe.start(&bench.carafe, bench.server)?;
    let load = |options: &str| {
        let options = format!("-c {stalled} {options}");
        Load::connected(&bench.carafe, &server.url("/events/bench"), &options, bench.load)
    };
    let seconds = bench.seconds(5);
    let mut healthy = load(&format!("--rate 5 --time {seconds}s --rounds 4"))?;
    let reading = load("-n 0")?;
    healthy.round()?;
    let before = healthy.round()?.latency.p99 as f64;
    drop(reading);

    let mut stopped = load(&format!("--stalled {stalled} --resume {FLOOD} --rounds 2"))?;
    let idle = server.memory()?.anonymous;
    stopped.round()?;
    healthy.round()?;
    let user = server.memory()?.anonymous.saturating_sub(idle);
    let kernel = usage::send_queues(server.address.port())?;
    let after = healthy.round()?.latency.p99 as f64;
    // They come back for all that they lack; the load fails otherwise.
    stopped.round()?;

    let mut section = Section::new(format!("{stalled} of {} connections stop reading", 2 * stalled));
    let each = |bytes: u64| bytes as f64 / stalled as f64;
    section.head(&["", "before", "after"]);
    section.row(vec!["99 % of the others have an event within, ms".into(), ms(before), ms(after)]);
    section.note(format!(
        "For each stalled connection: {:.0} bytes of user memory, {:.0} in the kernel's send queue.",
        each(user),
        each(kernel)
    ));
    let bytes = Series::of([each(user + kernel)]);
    section.demand("bytes on our side for a stalled connection", bytes, Limit::AtMost(65536.0));
    let ratio = Series::of([after / before]);
    section.demand("99 % of the others' latency, after / before", ratio, Limit::AtMost(1.2));
    Ok(section)
}

fn ms(microseconds: f64) -> String {
    format!("{:.2}", microseconds / 1000.0)
}
