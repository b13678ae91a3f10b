//! How fast clients catch up, directly and through nginx on the same host, beside a bare loop of
//! writes.

mod bare;
mod here;
mod measured;
mod network;
mod options;
mod replay;

use crate::document;
use crate::figure::Limit;
use crate::noise::Noise;
use crate::outcome::Outcome;
use crate::results::Results;
use crate::section::Section;
use crate::series::Series;

pub(crate) use bare::serve as serve_bare;
use here::measure_here;
use measured::{Measured, Rate};
pub(crate) use options::Options;

pub(crate) fn measure(options: &Options) -> Outcome {
    if options.here {
        println!("{}", serde_json::to_string(&measure_here(options)?)?);
        return Ok(());
    }
    let mut results = Results::new(options.quick);
    for mtu in [network::LOOPBACK, network::ETHERNET] {
        let noise = Noise::listen()?;
        let mut section = Section::new(format!("Catching up over {mtu}"));
        match network::run(mtu, options) {
            Ok(measured) => tell(&mut section, &measured),
            Err(reason) => section.note(format!("Skipped: {reason}")),
        }
        section.note(noise.to_string()?);
        results.add(section);
    }
    results.finish(options.write.then_some(document::Part::CatchUp), options.check)
}

fn tell(section: &mut Section, all: &[Measured]) {
    section.head(&[
        "events of, bytes",
        "streams",
        "through",
        "Carafe, MB/s",
        "bare loop, MB/s",
        "Carafe / bare loop",
        "Carafe, s of processor a GB",
    ]);
    let mut bars = Vec::new();
    for measured in all {
        let of = |rates: &[Rate]| rates.iter().map(|rate| rate.bytes / 1e6).collect::<Vec<_>>();
        let (hub, bare) = (of(&measured.hub), of(&measured.bare));
        let ratio = Series::ratio(&hub, &bare);
        if measured.through_nginx {
            bars.push((format!("{} x {} bytes", measured.streams, measured.event), ratio.median()));
        }
        let way = if measured.through_nginx { "nginx" } else { "nothing" };
        section.row(vec![
            measured.event.to_string(),
            measured.streams.to_string(),
            way.into(),
            Series::of(hub).to_string(),
            Series::of(bare).to_string(),
            ratio.to_string(),
            Series::of(measured.hub.iter().map(|rate| rate.processor)).to_string(),
        ]);
        // Of small events, reading and framing them costs more than the bare loop's writes.
        if measured.through_nginx && measured.event >= 1_000 {
            let name = format!(
                "{} x {} bytes through nginx, Carafe / bare loop",
                measured.streams, measured.event
            );
            section.demand(name, ratio, Limit::AtLeast(0.8));
        }
    }
    section.plot("Replay through nginx, Carafe / bare loop", bars);
}
