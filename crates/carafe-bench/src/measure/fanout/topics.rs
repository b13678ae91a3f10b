//! 10,000 subscribers of 1,000 topics.

use crate::bench::Bench;
use crate::figure::Limit;
use crate::floor::Writes;
use crate::outcome::Outcome;
use crate::section::Section;
use crate::series::Series;
use crate::subject::Subject;

use super::delivery::{Delivered, HEAD};

const SUBSCRIBERS: usize = 10_000;
const TOPICS: usize = 1_000;
const SECONDS: u64 = 3;

/// Events are published in batches, one to each topic: otherwise the requests would be measured.
pub(crate) fn measure(bench: &Bench) -> Outcome<Section> {
    let (subscribers, topics) = (bench.connections(SUBSCRIBERS), bench.connections(TOPICS));
    let load = format!(
        "-c {subscribers} --topics {topics} --batch bench/{{topic}} --publish HUB/events --duration {}s",
        bench.seconds(SECONDS)
    );
    let (mut floor, mut carafe) = (Delivered::default(), Delivered::default());
    let one_write = Subject::Floor(Writes::Each);
    for _ in 0..bench.rounds {
        floor.measure(bench, one_write, "/events/bench/{topic}", &load)?;
        carafe.measure(bench, Subject::Carafe, "/events/bench/{topic}", &load)?;
    }
    let mut section = Section::new(format!("{subscribers} subscribers of {topics} topics"));
    section.head(&HEAD);
    section.row(floor.row(one_write));
    section.row(carafe.row(Subject::Carafe));
    let ratio = Series::ratio(&carafe.processor, &floor.processor);
    section.demand("processor time of a delivery, Carafe / floor", ratio, Limit::AtMost(1.25));
    Ok(section)
}
