//! Counts tests from the output of the test harness.

use std::fmt;

/// How many tests of a run passed, failed and were skipped.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
    ignored: usize,
}

impl Tally {
    /// Parses one line of output: the result of a test binary or of Node's test runner, or the note
    /// of a skipped test.
    pub(crate) fn read(&mut self, line: &str) {
        if let Some((what, count)) = node_count(line) {
            match what {
                "pass" => self.passed += count,
                "fail" => self.failed += count,
                // These were noted before, and the sum below takes them from those that passed.
                "skipped" => self.passed += count,
                _ => {}
            }
        } else if line.contains("skipped: ") {
            self.skipped += 1;
        }
        if let Some((_, counts)) = line.split_once("test result: ") {
            self.passed += count(counts, "passed");
            self.failed += count(counts, "failed");
            self.ignored += count(counts, "ignored");
        }
    }
}

impl fmt::Display for Tally {
    /// The harness counts a test that skips itself as passed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passed = self.passed.saturating_sub(self.skipped);
        let skipped = self.skipped + self.ignored;
        write!(f, "{passed} passed, {} failed", self.failed)?;
        if skipped > 0 {
            write!(f, ", {skipped} skipped")?;
        }
        Ok(())
    }
}

/// A line of the summary of Node's test runner: `# pass 3`, or `ℹ pass 3` for a terminal.
fn node_count(line: &str) -> Option<(&str, usize)> {
    let rest = line.strip_prefix("# ").or_else(|| line.strip_prefix("ℹ "))?;
    let (what, count) = rest.split_once(' ')?;
    Some((what, count.parse().ok()?))
}

/// The number before `what` in `ok. 3 passed; 0 failed; 1 ignored; …`.
fn count(counts: &str, what: &str) -> usize {
    counts
        .split([';', '.'])
        .filter_map(|part| part.trim().split_once(' '))
        .find_map(|(number, word)| (word == what).then(|| number.parse().ok())?)
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(output: &str, closing: &str) {
        let mut tally = Tally::default();
        output.lines().for_each(|line| tally.read(line));
        assert_eq!(tally.to_string(), closing, "{output}");
    }

    #[test]
    fn results_of_all_binaries_are_added() {
        check(
            "running 3 tests\n\
             test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
             test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 1 filtered out; finished in 0.10s",
            "7 passed, 2 failed",
        );
    }

    #[test]
    fn results_of_nodes_test_runner_are_added() {
        check(
            "ok 2 - deno reads a stream # SKIP skipped: deno is not installed\n\
             test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
             # tests 5\n# suites 0\n# pass 3\n# fail 1\n# cancelled 0\n# skipped 1",
            "4 passed, 1 failed, 1 skipped",
        );
        check("ℹ tests 3\nℹ pass 2\nℹ fail 1\nℹ duration_ms 12.5", "2 passed, 1 failed");
    }

    #[test]
    fn a_test_that_skips_itself_has_not_passed() {
        check(
            "skipped: node_resumes because this run is without node\n\
             test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "2 passed, 0 failed, 2 skipped",
        );
    }
}
