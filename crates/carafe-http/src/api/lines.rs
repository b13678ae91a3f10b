//! Splits a body into lines as its bytes arrive.

use std::borrow::Cow;

use memchr::memchr;

use crate::answer::problem::Problem;

/// Some editors put it at the start of a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The lines of a text that arrives in pieces.
pub(crate) struct Lines {
    /// The most bytes of a line.
    longest: usize,
    too_long: fn(usize) -> Problem,
    /// The start of the next line.
    begun: Vec<u8>,
    /// The lines before it.
    before: usize,
}

/// A line with its number, counted from 1.
pub(crate) type BodyLine<'a> = (usize, Cow<'a, [u8]>);

impl Lines {
    /// Lines of at most so many bytes, and the problem for longer ones. A longer line is
    /// rejected before it has ended.
    pub(crate) fn new(longest: usize, too_long: fn(usize) -> Problem) -> Self {
        Self { longest, too_long, begun: Vec::new(), before: 0 }
    }

    /// The bytes of the incomplete line.
    pub(crate) fn begun(&self) -> usize {
        self.begun.len()
    }

    /// The number of the line that is being read, counted from 1.
    pub(crate) fn number(&self) -> usize {
        self.before + 1
    }

    /// Takes the next line that ends in `input`, with its number and without its line break, and
    /// moves `input` past it. `None` if no more lines end there: the rest is kept.
    pub(crate) fn next<'a>(
        &mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<BodyLine<'a>>, Problem> {
        let Some(end) = memchr(b'\n', input) else {
            self.begin(std::mem::take(input))?;
            return Ok(None);
        };
        let (line, rest) = input.split_at(end);
        *input = &rest[1..];
        if self.begun.is_empty() {
            self.check(line.len())?;
            return Ok(Some(self.ended(line.into())));
        }
        self.begin(line)?;
        Ok(self.last())
    }

    /// The last line, which has no line break; `None` if the text ended with one.
    pub(crate) fn last<'a>(&mut self) -> Option<BodyLine<'a>> {
        // The buffer is given away: one long line must not occupy memory until the body ends.
        let begun = std::mem::take(&mut self.begun);
        (!begun.is_empty()).then(|| self.ended(begun.into()))
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
        if length <= self.longest { Ok(()) } else { Err((self.too_long)(self.longest)) }
    }

    fn ended<'a>(&mut self, line: Cow<'a, [u8]>) -> BodyLine<'a> {
        self.before += 1;
        let line = match line {
            line if self.before > 1 || !line.starts_with(BYTE_ORDER_MARK) => line,
            Cow::Borrowed(line) => Cow::Borrowed(&line[BYTE_ORDER_MARK.len()..]),
            Cow::Owned(mut line) => {
                line.drain(..BYTE_ORDER_MARK.len());
                Cow::Owned(line)
            }
        };
        (self.before, line)
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
        for mut piece in text.as_bytes().chunks(piece) {
            found.extend(std::iter::from_fn(|| lines.next(&mut piece).unwrap()));
        }
        found.extend(lines.last());
        let text = |line: Cow<'_, [u8]>| String::from_utf8(line.into_owned()).unwrap();
        found.into_iter().map(|(number, line)| (number, text(line))).collect()
    }

    #[track_caller]
    fn check(text: &str, expected: &[(usize, &str)]) {
        let expected: Vec<_> =
            expected.iter().map(|(number, line)| (*number, (*line).to_owned())).collect();
        for piece in 1..=text.len().max(1) {
            assert_eq!(lines(text, piece), expected, "{piece}");
        }
    }

    #[test]
    fn a_text_has_the_same_lines_however_it_is_split() {
        check(
            "first\n\nthird\r\n12345678\nlast",
            &[(1, "first"), (2, ""), (3, "third\r"), (4, "12345678"), (5, "last")],
        );
        check("", &[]);
        check("a\n", &[(1, "a")]);
    }

    #[test]
    fn a_byte_order_mark_is_removed_at_the_start_only() {
        check("\u{feff}a\n\u{feff}b\n", &[(1, "a"), (2, "\u{feff}b")]);
        check("\u{feff}\u{feff}", &[(1, "\u{feff}")]);
    }

    #[test]
    fn a_line_that_is_too_long_is_refused_before_it_has_ended() {
        for piece in 1..=9 {
            let mut lines = Lines::new(8, too_long);
            let mut pieces = b"a\n123456789".chunks(piece);
            let last = b"a\n123456789".len().div_ceil(piece) - 1;
            let refused = pieces.position(|mut piece| {
                std::iter::from_fn(|| lines.next(&mut piece).transpose()).any(|it| it.is_err())
            });
            assert_eq!((refused, lines.number()), (Some(last), 2), "{piece}");
            assert!(lines.begun() <= 8);
        }
    }
}
