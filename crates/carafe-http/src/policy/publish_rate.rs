//! The publish rate of each publisher.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::policy::address::ClientAddress;

/// The most publishers that are tracked. If all of them have published just now, further ones
/// share one allowance.
const PUBLISHERS: usize = 100_000;

/// The shortest time between two searches for publishers that can be forgotten.
const SWEEP: Duration = Duration::from_secs(1);

/// Events in a time, such as `100/s`, with a burst.
///
/// ```
/// use std::num::NonZeroU32;
/// use std::time::Duration;
/// use carafe_http::Rate;
///
/// let burst = NonZeroU32::new(1000).ok_or("a burst of nothing")?;
/// let rate: Rate = "100/s".parse()?;
/// assert_eq!(rate.with_burst(burst), Rate::new(burst, Duration::from_secs(10)));
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The time of one event at this rate.
    each: Duration,
    burst: NonZeroU32,
}

impl Rate {
    /// `events` in `time`, all of which may come at once.
    #[must_use]
    pub fn new(events: NonZeroU32, time: Duration) -> Self {
        Self { each: time / events.get(), burst: events }
    }

    /// Sets the burst: how many events may come at once.
    #[must_use]
    pub fn with_burst(mut self, events: NonZeroU32) -> Self {
        self.burst = events;
        self
    }
}

impl FromStr for Rate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = "write events and a time, such as 100/s, 600/m or 1000/h";
        let (events, unit) = text.split_once('/').ok_or(bad)?;
        let seconds = match unit.trim() {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return Err(bad),
        };
        Ok(Self::new(events.trim().parse().map_err(|_| bad)?, Duration::from_secs(seconds)))
    }
}

/// The publish rate of each publisher. Clones share it.
///
/// ```
/// use carafe_http::{Options, PublishRate};
///
/// let mut options = Options::default();
/// options.publish_rate = PublishRate::new(Some("600/m".parse()?));
/// // Later, while the hub runs.
/// let rate = options.publish_rate.clone();
/// rate.set(Some("1000/m".parse()?));
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct PublishRate(Arc<Mutex<Table>>);

/// A publisher, as the limits distinguish them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Publisher {
    /// The holder of a token; see [`Verified::identity`](crate::auth::Verified::identity).
    Holder(u64),
    /// Clients without a token at this address.
    Address(ClientAddress),
    /// All publishers beyond those that are tracked.
    Other,
}

/// Why events may not be published now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TooFast {
    /// They may be published after this time.
    Wait(Duration),
    /// They exceed the burst, which is this, and can never be published at once.
    Never(NonZeroU32),
}

#[derive(Debug, Default)]
struct Table {
    rate: Option<Rate>,
    /// Until when the events of each publisher would have taken, one after the other at the
    /// rate (GCRA). A publisher that is absent, or whose time is past, has its whole burst.
    busy_until: HashMap<Publisher, Instant>,
    swept: Option<Instant>,
}

impl PublishRate {
    /// At most this rate; `None` for no limit.
    #[must_use]
    pub fn new(rate: Option<Rate>) -> Self {
        Self(Arc::new(Mutex::new(Table { rate, ..Table::default() })))
    }

    /// Sets another rate.
    pub fn set(&self, rate: Option<Rate>) {
        let mut table = self.table();
        if table.rate != rate {
            // The times were computed by the old rate.
            *table = Table { rate, ..Table::default() };
        }
    }

    /// Takes events off the publisher's allowance, or says why there is not enough of it.
    pub(crate) fn take(
        &self,
        publisher: Publisher,
        events: usize,
        now: Instant,
    ) -> Result<(), TooFast> {
        let mut table = self.table();
        let Some(rate) = table.rate else { return Ok(()) };
        let events = u32::try_from(events).ok().filter(|events| *events <= rate.burst.get());
        let events = events.ok_or(TooFast::Never(rate.burst))?;
        let busy_until = table.busy_until(publisher, now);
        let until = (*busy_until).max(now) + rate.each * events;
        let full = now + rate.each * rate.burst.get();
        // Nothing is taken on this path: a rejected request does not delay the next one.
        if until > full {
            return Err(TooFast::Wait(until - full));
        }
        *busy_until = until;
        Ok(())
    }

    /// Takes events that are not published off the allowance, down to nothing left.
    pub(crate) fn spend(&self, publisher: Publisher, events: usize, now: Instant) {
        let mut table = self.table();
        let Some(rate) = table.rate else { return };
        let burst = rate.burst.get();
        let events = u32::try_from(events).map_or(burst, |events| events.min(burst));
        let busy_until = table.busy_until(publisher, now);
        // A longer time from before a change of the rate stays.
        let full = (*busy_until).max(now + rate.each * burst);
        *busy_until = ((*busy_until).max(now) + rate.each * events).min(full);
    }

    /// Whether the allowance has one event left, which is not taken.
    pub(crate) fn check(&self, publisher: Publisher, now: Instant) -> Result<(), TooFast> {
        let table = self.table();
        let (Some(rate), Some(until)) = (table.rate, table.busy_until.get(&publisher)) else {
            return Ok(());
        };
        let free = *until + rate.each;
        let full = now + rate.each * rate.burst.get();
        if free > full { Err(TooFast::Wait(free - full)) } else { Ok(()) }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn busy_until(&mut self, publisher: Publisher, now: Instant) -> &mut Instant {
        let publisher =
            if self.has_room_for(publisher, now) { publisher } else { Publisher::Other };
        self.busy_until.entry(publisher).or_insert(now)
    }

    fn has_room_for(&mut self, publisher: Publisher, now: Instant) -> bool {
        if self.busy_until.len() < PUBLISHERS || self.busy_until.contains_key(&publisher) {
            return true;
        }
        // Linear in the number of publishers, under the lock: so at most once per second.
        if self.swept.is_none_or(|swept| now - swept >= SWEEP) {
            self.swept = Some(now);
            // Forgetting a publisher whose time is past gives it nothing: it has its whole burst
            // either way.
            self.busy_until.retain(|_, until| *until > now);
        }
        self.busy_until.len() < PUBLISHERS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Publisher = Publisher::Holder(1);
    const SECOND: Duration = Duration::from_secs(1);

    fn rate(text: &str, burst: u32) -> PublishRate {
        let rate: Rate = text.parse().unwrap();
        PublishRate::new(Some(rate.with_burst(NonZeroU32::new(burst).unwrap())))
    }

    #[test]
    fn a_publisher_has_a_burst_and_then_the_rate_and_another_has_its_own() {
        let (rate, start) = (rate("2/s", 3), Instant::now());
        (0..3).for_each(|_| rate.take(A, 1, start).unwrap());
        assert_eq!(rate.take(A, 1, start), Err(TooFast::Wait(SECOND / 2)));
        assert_eq!(rate.check(A, start), Err(TooFast::Wait(SECOND / 2)));
        assert_eq!(rate.check(A, start + SECOND / 2), Ok(()));
        assert_eq!(rate.check(Publisher::Holder(2), start), Ok(()));
        rate.take(Publisher::Holder(2), 3, start).unwrap();
        rate.take(Publisher::Address(std::net::IpAddr::from([0, 0, 0, 1]).into()), 3, start)
            .unwrap();
        assert_eq!(rate.take(A, 2, start + SECOND / 2), Err(TooFast::Wait(SECOND / 2)));
        rate.take(A, 2, start + SECOND).unwrap();
        assert_eq!(rate.take(A, 1, start + SECOND), Err(TooFast::Wait(SECOND / 2)));
        assert_eq!(
            rate.take(A, 3, start + 100 * SECOND),
            Ok(()),
            "what was not used is not saved up"
        );
        assert!(rate.take(A, 1, start + 100 * SECOND).is_err());
    }

    #[test]
    fn what_is_spent_on_nothing_is_taken_off_and_no_more_than_there_is() {
        let (rate, now) = (rate("2/s", 3), Instant::now());
        rate.spend(A, 2, now);
        rate.take(A, 1, now).unwrap();
        rate.spend(A, usize::MAX, now);
        rate.spend(A, 2, now);
        assert_eq!(rate.check(A, now), Err(TooFast::Wait(SECOND / 2)));
        rate.take(A, 3, now + 3 * SECOND / 2).unwrap();
    }

    #[test]
    fn more_than_the_burst_never_goes_at_once() {
        let (rate, now) = (rate("1/h", 5), Instant::now());
        assert_eq!(rate.take(A, 6, now), Err(TooFast::Never(NonZeroU32::new(5).unwrap())));
        assert_eq!(rate.take(A, usize::MAX, now), Err(TooFast::Never(NonZeroU32::new(5).unwrap())));
        rate.take(A, 5, now).unwrap();
    }

    #[test]
    fn a_rate_is_written_as_events_and_a_time() {
        let thousand = NonZeroU32::new(1000).unwrap();
        assert_eq!("1000/m".parse(), Ok(Rate::new(thousand, 60 * SECOND)));
        for text in ["", "10", "10/", "0/s", "-1/s", "10/d", "ten/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn very_many_publishers_take_no_more_memory_and_those_over_share_an_allowance() {
        let (rate, start) = (rate("1/m", 1), Instant::now());
        for holder in 0..PUBLISHERS as u64 {
            rate.take(Publisher::Holder(holder), 1, start).unwrap();
        }
        rate.take(Publisher::Holder(u64::MAX), 1, start).unwrap();
        assert!(rate.take(Publisher::Holder(u64::MAX - 1), 1, start).is_err());
        assert!(rate.table().busy_until.len() <= PUBLISHERS + 1);
        let later = start + 60 * SECOND;
        rate.take(Publisher::Holder(u64::MAX - 1), 1, later).unwrap();
        rate.take(Publisher::Holder(u64::MAX - 2), 1, later).unwrap();
        assert_eq!(rate.table().busy_until.len(), 2, "who may publish again is forgotten");
    }

    #[test]
    fn another_rate_holds_at_once() {
        let (rate, now) = (rate("1/h", 1), Instant::now());
        rate.take(A, 1, now).unwrap();
        rate.set("2/s".parse().ok());
        rate.take(A, 2, now).unwrap();
        assert!(rate.take(A, 1, now).is_err());
        rate.set(None);
        rate.take(A, 1_000_000, now).unwrap();
    }
}
