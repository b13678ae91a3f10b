//! Sums and products of sizes and options, as docs/OPERATIONS.md writes them.

use crate::outcome::Outcome;

/// What is left to read of a formula. Words end it.
pub(super) struct Formula<'a>(pub(super) &'a str);

impl<'a> Formula<'a> {
    /// The value, where options have these.
    pub(super) fn sum(&mut self, value: &dyn Fn(&str) -> Option<u64>) -> Outcome<u64> {
        let mut sum = self.product(value)?;
        while self.take("+") {
            sum += self.product(value)?;
        }
        Ok(sum)
    }

    fn product(&mut self, value: &dyn Fn(&str) -> Option<u64>) -> Outcome<u64> {
        let mut product = self.factor(value)?;
        while self.take("×") {
            product *= self.factor(value)?;
        }
        Ok(product)
    }

    fn factor(&mut self, value: &dyn Fn(&str) -> Option<u64>) -> Outcome<u64> {
        if self.take("(") {
            let sum = self.sum(value)?;
            return if self.take(")") { Ok(sum) } else { Err(self.unknown()) };
        }
        if self.take("`") {
            let option = self.take_while(|char| char != '`');
            self.take("`");
            return value(option).ok_or_else(|| format!("no value is known of {option}").into());
        }
        let number: u64 =
            self.take_while(|char| char.is_ascii_digit()).parse().map_err(|_| self.unknown())?;
        let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("bytes", 1)];
        Ok(number
            * units.into_iter().find(|(unit, _)| self.take(unit)).map_or(1, |(_, bytes)| bytes))
    }

    fn take(&mut self, word: &str) -> bool {
        let rest = self.0.trim_start().strip_prefix(word);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let text = self.0.trim_start();
        let (taken, rest) = text.split_at(text.find(|char| !wanted(char)).unwrap_or(text.len()));
        self.0 = rest;
        taken
    }

    fn unknown(&self) -> Box<dyn std::error::Error> {
        format!("not a formula: {}", self.0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::Formula;

    #[test]
    fn formulas_are_computed_up_to_the_first_word() {
        let value = |option: &str| (option == "--readers").then_some(4);
        let of = |text| Formula(text).sum(&value).map_err(|error| error.to_string());
        assert_eq!(of("48 MiB"), Ok(48 << 20));
        assert_eq!(of("32 KiB + (`--readers` + 1) × 2 KiB"), Ok(42 << 10));
        assert_eq!(of("16 KiB more each, and more"), Ok(16 << 10));
        assert_eq!(of("2 × `--other`"), Err("no value is known of --other".into()));
        assert_eq!(of("much"), Err("not a formula: much".into()));
    }
}
