//! Events to 10,000 subscribers of one topic: processor time, throughput, memory.

use crate::bench::Bench;
use crate::deliveries::Deliveries;
use crate::figure::Limit;
use crate::floor::Writes;
use crate::outcome::Outcome;
use crate::section::Section;
use crate::series::Series;
use crate::subject::Subject;

const SUBSCRIBERS: usize = 10_000;

/// How long a round publishes.
const SECONDS: u64 = 3;

const SUBJECTS: [Subject; 7] = [
    Subject::Floor(Writes::Each),
    Subject::Floor(Writes::Coalesced),
    Subject::Carafe,
    Subject::Nchan,
    Subject::Axum,
    Subject::Express,
    Subject::BetterSse,
];

/// What was measured of one server, round by round.
#[derive(Default)]
pub(crate) struct Delivered {
    /// Microseconds of the server's processor time for a delivery.
    pub(crate) processor: Vec<f64>,
    pub(crate) a_second: Vec<f64>,
    /// Bytes of user memory for a connection.
    idle: Vec<f64>,
    after: Vec<f64>,
    /// The load's share of its core.
    core: Vec<f64>,
}

pub(crate) fn one_in_flight(bench: &Bench) -> Outcome<Section> {
    let (mut section, all) = in_turns(bench, 1)?;
    let ratio = Series::ratio(&of(&all, Subject::Carafe).processor, &of(&all, FLOOR).processor);
    section.demand("processor time of a delivery, Carafe / floor", ratio, Limit::AtMost(1.1));
    section.plot("Processor time of a delivery, µs", bars(&all, |delivered| &delivered.processor));
    section.plot(
        "User memory of a connection after traffic, bytes",
        bars(&all, |delivered| &delivered.after),
    );
    Ok(section)
}

pub(crate) fn window(bench: &Bench) -> Outcome<Section> {
    let (mut section, all) = in_turns(bench, 16)?;
    let carafe = &of(&all, Subject::Carafe).a_second;
    let ratio = |subject| Series::ratio(carafe, &of(&all, subject).a_second);
    let floor = ratio(Subject::Floor(Writes::Coalesced));
    section.demand("deliveries a second, Carafe / coalescing floor", floor, Limit::AtLeast(0.9));
    let processor =
        |subject| Series::ratio(&of(&all, subject).processor, &of(&all, Subject::Carafe).processor);
    section.note(format!(
        "Deliveries for the same processor time, on a machine that is not quiet the better \
         measure: Carafe / coalescing floor {}, Carafe / nchan {}.",
        processor(Subject::Floor(Writes::Coalesced)),
        processor(Subject::Nchan)
    ));
    section.plot(
        "Deliveries a second, 16 events in flight",
        bars(&all, |delivered| &delivered.a_second),
    );
    section.demand(
        "deliveries a second, Carafe / nchan",
        ratio(Subject::Nchan),
        Limit::AtLeast(20.0),
    );
    Ok(section)
}

/// What the columns are.
pub(crate) const HEAD: [&str; 6] = [
    "",
    "µs of processor a delivery",
    "deliveries a second",
    "bytes a connection, idle",
    "after traffic",
    "load's share of a core",
];

const FLOOR: Subject = Subject::Floor(Writes::Each);

fn in_turns(bench: &Bench, window: usize) -> Outcome<(Section, Vec<(Subject, Delivered)>)> {
    let subscribers = bench.connections(SUBSCRIBERS);
    let load = format!("-c {subscribers} --window {window} --duration {}s", bench.seconds(SECONDS));
    let mut all: Vec<_> = SUBJECTS.map(|subject| (subject, Delivered::default())).into();
    for _ in 0..bench.rounds {
        for (subject, delivered) in &mut all {
            delivered.measure(bench, *subject, "/events/bench", &load)?;
        }
    }
    let mut section =
        Section::new(format!("{window} in flight to {subscribers} subscribers of one topic"));
    section.head(&HEAD);
    for (subject, delivered) in &all {
        section.row(delivered.row(*subject));
    }
    Ok((section, all))
}

fn bars(
    all: &[(Subject, Delivered)],
    values: impl Fn(&Delivered) -> &Vec<f64>,
) -> Vec<(String, f64)> {
    let median = |delivered| Series::of(values(delivered).iter().copied()).median();
    all.iter().map(|(subject, delivered)| (subject.name().into(), median(delivered))).collect()
}

fn of(all: &[(Subject, Delivered)], subject: Subject) -> &Delivered {
    let found = all.iter().find(|(other, _)| *other == subject);
    &found.expect("all subjects were measured").1
}

impl Delivered {
    /// One more round, on a server of its own. What the load's first round does is to warm it up.
    pub(crate) fn measure(
        &mut self,
        bench: &Bench,
        subject: Subject,
        path: &str,
        load: &str,
    ) -> Outcome {
        let server = subject.start(&bench.carafe, bench.server)?;
        let load = load.replace("HUB", &server.url(""));
        let measured = Deliveries::measure(bench, &server, &server.url(path), &load, &[])
            .map_err(|error| format!("{}: {error}", subject.name()))?;
        self.processor.push(measured.processor);
        self.a_second.push(measured.report.deliveries_per_second);
        self.idle.push(measured.idle);
        self.after.push(measured.after);
        self.core.push(measured.report.core);
        Ok(())
    }

    pub(crate) fn row(&self, subject: Subject) -> Vec<String> {
        let columns = [&self.processor, &self.a_second, &self.idle, &self.after, &self.core];
        let values = columns.map(|values| Series::of(values.iter().copied()).to_string());
        std::iter::once(subject.name().into()).chain(values).collect()
    }
}
