//! The same thing, measured several times.

use std::fmt;

/// What was measured, in rising order.
#[derive(Clone)]
pub(crate) struct Series(Vec<f64>);

impl Series {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        Self(values)
    }

    /// Of two things that were measured in turns: one by the other, round by round.
    pub(crate) fn ratio(ones: &[f64], others: &[f64]) -> Self {
        Self::of(ones.iter().zip(others).map(|(one, other)| one / other))
    }

    pub(crate) fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |value: f64| match value {
            value if value.abs() >= 10_000.0 => format!("{value:.0}"),
            value if value.abs() >= 100.0 => format!("{value:.1}"),
            value => format!("{value:.2}"),
        };
        f.write_str(&show(self.median()))?;
        match &self.0[..] {
            [least, .., most] => write!(f, " ({} to {})", show(*least), show(*most)),
            _ => Ok(()),
        }
    }
}
