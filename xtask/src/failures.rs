//! What failed tests printed, to be shown once more at the end of a long run.

use std::collections::VecDeque;
use std::fmt;

/// The most lines that are kept of one test: the last ones, where the panic is.
const LINES: usize = 40;

/// The output of failed tests, from the output of the test harness.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    tests: Vec<VecDeque<String>>,
    /// The lines belong to the last test.
    is_in_test: bool,
}

impl Failures {
    /// Parses one line of output. A failed test's begins with `---- NAME stdout ----`, and the list
    /// of their names, `failures:`, ends the last one's.
    pub(crate) fn read(&mut self, line: &str) {
        if line.starts_with("---- ") && line.ends_with(" stdout ----") {
            self.tests.push(VecDeque::new());
            self.is_in_test = true;
        } else if line == "failures:" {
            self.is_in_test = false;
        }
        if self.is_in_test
            && let Some(test) = self.tests.last_mut()
        {
            // The first line is the name.
            if test.len() > LINES {
                test.remove(1);
            }
            test.push_back(line.into());
        }
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tests.iter().flatten().try_for_each(|line| writeln!(f, "{line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(output: &str) -> String {
        let mut failures = Failures::default();
        output.lines().for_each(|line| failures.read(line));
        failures.to_string()
    }

    #[test]
    fn failed_tests_of_all_binaries_are_shown_and_nothing_else() {
        let output = "\
            test a ... FAILED\n\nfailures:\n\n\
            ---- a stdout ----\npanicked at a\n\n\
            ---- b stdout ----\npanicked at b\n\n\n\
            failures:\n    a\n    b\n\ntest result: FAILED. 0 passed; 2 failed\n\
            test c ... FAILED\n\nfailures:\n\n---- c stdout ----\npanicked at c\n\n\n\
            failures:\n    c\n";
        assert_eq!(
            shown(output),
            "---- a stdout ----\npanicked at a\n\n\
             ---- b stdout ----\npanicked at b\n\n\n\
             ---- c stdout ----\npanicked at c\n\n\n"
        );
        assert_eq!(shown("test a ... ok\n\ntest result: ok. 1 passed; 0 failed\n"), "");
    }

    #[test]
    fn the_last_lines_of_a_long_output_are_shown() {
        let lines: String = (0..100).map(|number| format!("{number}\n")).collect();
        let last: String = (60..100).map(|number| format!("{number}\n")).collect();
        let name = "---- a stdout ----\n";
        assert_eq!(shown(&format!("{name}{lines}failures:\n")), format!("{name}{last}"));
    }
}
