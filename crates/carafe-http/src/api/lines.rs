//! Splits a body into lines as its bytes arrive.

use crate::answer::problem::Problem;

/// The largest buffer that is kept for the next line.
const KEPT: usize = 64 << 10;

/// The lines of a text that arrives in pieces.
pub(crate) struct Lines {
    /// The most bytes of a line.
    longest: usize,
    too_long: fn(usize) -> Problem,
    /// The start of the next line.
    begun: Vec<u8>,
    number: usize,
}

impl Lines {
    /// Lines of at most so many bytes, and the problem for longer ones. A longer line is
    /// rejected before it has ended.
    pub(crate) fn new(longest: usize, too_long: fn(usize) -> Problem) -> Self {
        Self { longest, too_long, begun: Vec::new(), number: 1 }
    }

    /// The bytes of the incomplete line.
    pub(crate) fn begun(&self) -> usize {
        self.begun.len()
    }

    /// Passes on each line that ends in these bytes, without its line break.
    pub(crate) fn push(
        &mut self,
        bytes: &[u8],
        mut line: impl FnMut(usize, &[u8]) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                None => self.begin(piece)?,
                Some(end) if self.begun.is_empty() => {
                    self.check(end.len())?;
                    self.ended(|number| line(number, end))?;
                }
                Some(end) => {
                    self.begin(end)?;
                    self.end(&mut line)?;
                }
            }
        }
        Ok(())
    }

    /// Passes on the last line, which has no line break.
    pub(crate) fn end(
        &mut self,
        line: impl FnOnce(usize, &[u8]) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let mut begun = std::mem::take(&mut self.begun);
        self.ended(|number| line(number, &begun))?;
        // A large buffer is freed: one long line must not occupy memory until the batch ends.
        if begun.capacity() <= KEPT {
            begun.clear();
            self.begun = begun;
        }
        Ok(())
    }

    fn begin(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let length = self.begun.len() + bytes.len();
        self.check(length)?;
        if length > self.begun.capacity() {
            // Doubled, so that a line in many pieces is copied a constant number of times, and
            // never beyond the limit.
            let capacity = length.max((2 * self.begun.capacity()).min(self.longest));
            self.begun.reserve_exact(capacity - self.begun.len());
        }
        self.begun.extend_from_slice(bytes);
        Ok(())
    }

    fn check(&self, length: usize) -> Result<(), Problem> {
        let is_short = length <= self.longest;
        is_short.then_some(()).ok_or_else(|| (self.too_long)(self.longest).at_line(self.number))
    }

    fn ended(&mut self, line: impl FnOnce(usize) -> Result<(), Problem>) -> Result<(), Problem> {
        let number = self.number;
        self.number += 1;
        line(number).map_err(|problem| problem.at_line(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn too_long(_: usize) -> Problem {
        Problem::not_found()
    }

    /// The lines of a text in pieces of so many bytes.
    fn lines(text: &str, piece: usize) -> Vec<(usize, String)> {
        let (mut lines, mut found) = (Lines::new(8, too_long), Vec::new());
        let mut line = |number, line: &[u8]| {
            found.push((number, String::from_utf8(line.to_vec()).unwrap()));
            Ok(())
        };
        text.as_bytes().chunks(piece).for_each(|piece| lines.push(piece, &mut line).unwrap());
        lines.end(&mut line).unwrap();
        found
    }

    #[test]
    fn a_text_has_the_same_lines_however_it_is_split() {
        let text = "first\n\nthird\r\n12345678\nlast";
        let expected = [(1, "first"), (2, ""), (3, "third\r"), (4, "12345678"), (5, "last")];
        let expected = expected.map(|(number, line)| (number, line.to_owned()));
        for piece in 1..=text.len() {
            assert_eq!(lines(text, piece), expected, "{piece}");
        }
        assert_eq!(lines("", 1), [(1, String::new())]);
    }

    #[test]
    fn a_line_that_is_too_long_is_refused_before_it_has_ended() {
        for piece in 1..=9 {
            let mut lines = Lines::new(8, too_long);
            let pieces: Vec<_> = b"a\n123456789".chunks(piece).collect();
            let refused = pieces.iter().position(|piece| lines.push(piece, |_, _| Ok(())).is_err());
            assert_eq!(refused, Some(pieces.len() - 1), "{piece}");
            assert!(lines.begun() <= 8);
        }
    }
}
