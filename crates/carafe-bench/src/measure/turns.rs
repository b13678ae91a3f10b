//! Two sides that are measured in turns: what disturbs the machine disturbs both.

use std::time::Instant;

use crate::outcome::Outcome;

pub(crate) struct Turns {
    pub(crate) one: Side,
    pub(crate) other: Side,
    ratio: Side,
}

/// All that was measured of one side, in rising order.
pub(crate) struct Side(Vec<f64>);

/// Measures both sides once in each round.
pub(crate) fn in_turns(
    rounds: usize,
    mut one: impl FnMut() -> Outcome<f64>,
    mut other: impl FnMut() -> Outcome<f64>,
) -> Outcome<Turns> {
    let measured = (0..rounds.max(1)).map(|_| Ok((one()?, other()?)));
    let (ones, others) = measured.collect::<Outcome<(Vec<_>, Vec<_>)>>()?;
    let ratios = ones.iter().zip(&others).map(|(one, other)| one / other).collect();
    Ok(Turns { one: Side::of(ones), other: Side::of(others), ratio: Side::of(ratios) })
}

impl Turns {
    /// One by the other, round by round: a disturbance hits either alike, and leaves the median of
    /// these where it was.
    pub(crate) fn ratio(&self) -> f64 {
        self.ratio.median()
    }
}

impl Side {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        Self(values)
    }

    pub(crate) fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }

    /// A tenth of the values lies below.
    pub(crate) fn lowest_tenth(&self) -> f64 {
        self.0[self.0.len() / 10]
    }
}

/// How many seconds something takes.
pub(crate) fn seconds(run: impl FnOnce() -> Outcome) -> Outcome<f64> {
    let start = Instant::now();
    run()?;
    Ok(start.elapsed().as_secs_f64())
}
