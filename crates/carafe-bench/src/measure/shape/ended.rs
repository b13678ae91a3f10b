//! What ended topics cost others: opening, publishing and subscribing, by how many there are.

use carafe_hub::Hub;
use carafe_log::{Append, DiskLog, DiskOptions, Outcome as End, Publication};
use carafe_protocol::Topic;
use futures_executor::block_on;
use tempfile::TempDir;

use crate::figure::Limit;
use crate::filling::Filling;
use crate::outcome::Outcome;
use crate::section::Section;
use crate::series::Series;
use crate::turns::seconds;

use super::bench::{Bench, amount, permille};

/// Ended topics. The other entries of each log are events of as many topics that go on.
const ENDED: [u64; 3] = [0, 1_000, 100_000];
const ENTRIES: u64 = 100_000;

/// Publications and subscriptions of a round.
const EACH: usize = 100;

/// A log with ended topics, and what was measured of it, round by round, in seconds.
struct Sized {
    ended: u64,
    folder: TempDir,
    open: Vec<f64>,
    publish: Vec<f64>,
    subscribe: Vec<f64>,
}

pub(crate) fn measure(bench: &Bench) -> Outcome<Section> {
    let sized = ENDED.map(|ended| Sized::fill(bench, ended));
    let mut all = sized.into_iter().collect::<Outcome<Vec<_>>>()?;
    for _ in 0..bench.rounds {
        all.iter_mut().try_for_each(Sized::turn)?;
    }
    Ok(section(bench, &all))
}

fn section(bench: &Bench, all: &[Sized]) -> Section {
    let mut section = Section::new("Opening, publishing and subscribing, by ended topics");
    section.head(&["ended topics", "opening, ms", "publishing, µs", "subscribing, µs"]);
    let times = |seconds: &[f64], factor: f64| {
        Series::of(seconds.iter().map(|seconds| seconds * factor)).to_string()
    };
    for sized in all {
        section.row(vec![
            amount(bench.size(sized.ended)),
            times(&sized.open, 1e3),
            times(&sized.publish, 1e6),
            times(&sized.subscribe, 1e6),
        ]);
    }
    let [none, .., many] = all else { return section };
    for (what, of, limit) in [
        ("opening", (&many.open, &none.open), 2.0),
        ("publishing", (&many.publish, &none.publish), 1.2),
        ("subscribing", (&many.subscribe, &none.subscribe), 1.3),
    ] {
        let name =
            format!("{what} with {} ended topics / with none", amount(bench.size(many.ended)));
        section.demand(name, Series::ratio(of.0, of.1), Limit::AtMost(limit));
    }
    section
}

impl Sized {
    fn fill(bench: &Bench, ended: u64) -> Outcome<Self> {
        let folder = bench.folder()?;
        let mut filling = Filling::open(folder.path(), options())?;
        let (ended_here, entries) = (bench.size(ended), bench.size(ENTRIES));
        filling.append((0..entries).filter_map(|number| entry(number, ended_here).ok()))?;
        let (open, publish, subscribe) = <(Vec<_>, Vec<_>, Vec<_>)>::default();
        Ok(Self { ended, folder, open, publish, subscribe })
    }

    fn turn(&mut self) -> Outcome {
        let mut log = None;
        self.open.push(seconds(|| {
            log = Some(DiskLog::open(self.folder.path(), options())?);
            Ok(())
        })?);
        let Some(log) = log else { return Ok(()) };
        let topic = Topic::new("orders")?;
        let publish = || {
            let event = Publication::new(topic.clone(), "one flat white");
            block_on(log.append(vec![event])).map(drop).map_err(Into::into)
        };
        let times = (0..EACH).map(|_| seconds(publish)).collect::<Outcome<_>>()?;
        self.publish.push(quickest_tenth(times));
        let hub = Hub::new(log);
        let subscribe = || block_on(hub.subscribe("orders")).map(drop).map_err(Into::into);
        let times = (0..EACH).map(|_| seconds(subscribe)).collect::<Outcome<_>>()?;
        self.subscribe.push(quickest_tenth(times));
        Ok(())
    }
}

fn options() -> DiskOptions {
    DiskOptions::default().with_segment_bytes(1 << 20)
}

/// An end, or an event of the same size.
fn entry(number: u64, ended: u64) -> Outcome<Publication> {
    let topic = Topic::new(&format!("jobs/{number:07}"))?;
    Ok(match number < ended {
        true => Publication::end(topic, End::Done),
        false => Publication::new(topic, ""),
    })
}

/// What others do on the machine makes single ones slow, and what the log does, all.
fn quickest_tenth(mut all: Vec<f64>) -> f64 {
    all.sort_unstable_by(f64::total_cmp);
    permille(&all, 100)
}
