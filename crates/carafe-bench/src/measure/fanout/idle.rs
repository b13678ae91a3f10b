//! What a connection costs on which nothing happens.

use crate::bench::Bench;
use crate::driver::Load;
use crate::figure::Limit;
use crate::outcome::Outcome;
use crate::section::Section;
use crate::series::Series;
use crate::subject::Subject;

const FEW: usize = 2_000;
const MANY: usize = 18_000;

/// Bytes of user memory.
struct Idle {
    process: f64,
    a_connection: f64,
    after_traffic: f64,
}

pub(crate) fn measure(bench: &Bench) -> Outcome<Section> {
    let (few, many) = (bench.connections(FEW), bench.connections(MANY));
    let shared = idle(bench, "/events/bench", "/events/bench")?;
    let own = "/events?topic=news&topic=own/NAME/{connection}";
    let own = idle(bench, own, "/events/news")?;
    let mut section =
        Section::new(format!("Idle connections, between {few} and {many} on one process"));
    section.head(&["", "bytes a connection", "after traffic"]);
    for (name, idle) in [("one shared topic", &shared), ("with a topic of its own besides", &own)] {
        section.row(vec![
            name.into(),
            format!("{:.0}", idle.a_connection),
            format!("{:.0}", idle.after_traffic),
        ]);
    }
    let bar = |value: f64| Series::of([value]);
    section.demand(
        "bytes a connection on a shared topic",
        bar(shared.a_connection),
        Limit::AtMost(200.0),
    );
    section.demand(
        "bytes a connection with a topic of its own",
        bar(own.a_connection),
        Limit::AtMost(400.0),
    );
    section.demand(
        "MB resident of the process itself",
        bar(shared.process / 1e6),
        Limit::AtMost(20.0),
    );
    Ok(section)
}

/// Two loads: one has the few, the other the rest.
fn idle(bench: &Bench, path: &str, publish: &str) -> Outcome<Idle> {
    let server = Subject::Carafe.start(&bench.carafe, bench.server)?;
    let process = server.memory()?.resident as f64;
    let connect = |name: &str, count: usize| {
        let options = format!("-c {count} -n 20 --publish {}", server.url(publish));
        Load::connected(&server.url(&path.replace("NAME", name)), &options, bench.load)
    };
    let (few, many) = (bench.connections(FEW), bench.connections(MANY));
    let _few = connect("few", few)?;
    let with_few = server.memory()?.anonymous as f64;
    let mut rest = connect("many", many - few)?;
    let a_connection = |bytes: u64| (bytes as f64 - with_few) / (many - few) as f64;
    let idle = a_connection(server.memory()?.anonymous);
    rest.round()?;
    Ok(Idle {
        process,
        a_connection: idle,
        after_traffic: a_connection(server.memory()?.anonymous),
    })
}
