//! How the parts are measured, and how figures are written.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use crate::outcome::Outcome;

/// How a part is to be measured.
pub(crate) struct Bench {
    pub(crate) carafe: PathBuf,
    pub(crate) rounds: usize,
    pub(super) quick: bool,
    pub(super) dir: PathBuf,
}

impl Bench {
    /// An empty folder, removed when dropped.
    pub(crate) fn folder(&self) -> Outcome<TempDir> {
        fs::create_dir_all(&self.dir)?;
        Ok(tempfile::tempdir_in(&self.dir)?)
    }

    /// So much of something, or a fiftieth where it is to be quick.
    pub(crate) fn size(&self, size: u64) -> u64 {
        if self.quick { size.div_ceil(50) } else { size }
    }

    /// How long one turn of a measurement may take, whatever it is that turns out slow.
    pub(crate) fn turn(&self) -> Duration {
        if self.quick { Duration::from_secs(1) } else { Duration::from_secs(5) }
    }
}

/// The size in words: `1 k`, `100 M`.
pub(crate) fn amount(count: u64) -> String {
    match count {
        1_000_000.. => format!("{:.3} M", count as f64 / 1e6).replace(".000", ""),
        1_000.. => format!("{:.3} k", count as f64 / 1e3).replace(".000", ""),
        _ => count.to_string(),
    }
}

/// The value of which so many of a thousand are not greater; of values in rising order.
pub(crate) fn permille(rising: &[f64], permille: usize) -> f64 {
    let rank = (rising.len() * permille).div_ceil(1000);
    rising.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::{amount, permille};

    #[test]
    fn a_permille_of_few_values_is_the_greatest() {
        assert!((permille(&[1.0, 2.0, 9.0], 999) - 9.0).abs() < f64::EPSILON);
        assert!((permille(&[1.0, 2.0, 9.0], 500) - 2.0).abs() < f64::EPSILON);
        assert!(permille(&[], 999).is_nan());
    }

    #[test]
    fn amounts_are_told_in_thousands_and_millions() {
        assert_eq!([999, 1_000, 1_500_000].map(amount), ["999", "1 k", "1.500 M"]);
    }
}
