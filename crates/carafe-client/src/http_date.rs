//! Dates in headers (RFC 9110, 5.6.7).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Parses a date such as `Sun, 06 Nov 1994 08:49:37 GMT`, the form that servers have to send.
pub(crate) fn parse(text: &str) -> Option<SystemTime> {
    let (_, date) = text.split_once(", ")?;
    let mut parts = date.split(' ');
    let day: u64 = parts.next()?.parse().ok()?;
    let month = parts.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let year: u64 = parts.next()?.parse().ok()?;
    let mut clock = parts.next()?.splitn(3, ':').map(str::parse);
    let mut next = || clock.next()?.ok();
    let (hour, minute, second): (u64, u64, u64) = (next()?, next()?, next()?);
    let is_valid = (1970..10_000).contains(&year)
        && (1..=31).contains(&day)
        && (hour < 24 && minute < 60 && second < 61)
        && (parts.next(), parts.next()) == (Some("GMT"), None);
    is_valid.then(|| {
        let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
        UNIX_EPOCH + Duration::from_secs(seconds)
    })
}

/// Days since 1970. Years begin in March here, so that the leap day is the last one.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 719_469
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, seconds: u64) {
        assert_eq!(parse(text), Some(UNIX_EPOCH + Duration::from_secs(seconds)), "{text}");
    }

    #[test]
    fn dates_are_seconds_since_1970() {
        check("Thu, 01 Jan 1970 00:00:00 GMT", 0);
        check("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777);
        check("Tue, 29 Feb 2000 23:59:59 GMT", 951_868_799);
        check("Wed, 01 Mar 2000 00:00:00 GMT", 951_868_800);
        check("Sun, 29 Nov 2026 12:00:00 GMT", 1_795_953_600);
    }

    #[test]
    fn other_text_is_no_date() {
        for text in [
            "",
            "120",
            "Sun, 06 Nov 1994",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 0 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1194 08:49:37 GMT",
            "Sun, 06 Now 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
