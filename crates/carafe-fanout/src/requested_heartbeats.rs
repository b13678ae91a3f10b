//! Visits to the subscribers that want heartbeats more often than others.

use std::time::{Duration, Instant};

use carafe_hub::SubscriberId;

use crate::heartbeats::HeartbeatRounds;

/// The subscribers of a shard that want heartbeats more often than it visits all, grouped by the
/// interval. Only they take memory here, and a visit to them visits no others.
///
/// The number of intervals is limited by [`Heartbeat::every`](carafe_hub::Heartbeat::every), which
/// rounds them, and by the longest that is shorter than the usual one.
#[derive(Default)]
pub(crate) struct RequestedHeartbeats {
    groups: Vec<SameInterval>,
    /// When the next group is due.
    next: Option<Instant>,
}

struct SameInterval {
    interval: Duration,
    rounds: HeartbeatRounds,
    /// With the number of each client: its ID may be reused. Those that have left are removed when
    /// they are visited.
    members: Vec<(SubscriberId, u32)>,
}

impl RequestedHeartbeats {
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }

    pub(crate) fn add(
        &mut self,
        interval: Duration,
        subscriber: SubscriberId,
        number: u32,
        now: Instant,
    ) {
        let group = self.groups.iter_mut().find(|group| group.interval == interval);
        if let Some(group) = group {
            return group.members.push((subscriber, number));
        }
        let rounds = HeartbeatRounds::new(interval, now);
        let members = vec![(subscriber, number)];
        self.groups.push(SameInterval { interval, rounds, members });
        self.next = Some(self.next.map_or(now, |next| next.min(now)));
    }

    /// Visits those that are due. `visit` returns whether the subscriber is still here.
    pub(crate) fn visit_due(
        &mut self,
        now: Instant,
        mut visit: impl FnMut(SubscriberId, u32) -> bool,
    ) {
        if self.next.is_none_or(|next| now < next) {
            return;
        }
        self.groups.iter_mut().for_each(|group| group.visit_due(now, &mut visit));
        self.groups.retain(|group| !group.members.is_empty());
        self.next = self.groups.iter().map(|group| group.rounds.next()).min();
    }
}

impl SameInterval {
    fn visit_due(&mut self, now: Instant, visit: &mut impl FnMut(SubscriberId, u32) -> bool) {
        let entries = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        let due = self.rounds.due(entries, now);
        let mut index = due.start as usize;
        while index < self.members.len().min(due.end as usize) {
            let (subscriber, number) = self.members[index];
            if visit(subscriber, number) {
                index += 1;
            } else {
                // The last one takes the place, and is visited next: its own place is gone.
                self.members.swap_remove(index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use carafe_hub::TableKey;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Visits for so long, and returns how often each was visited.
    fn visits(
        requested: &mut RequestedHeartbeats,
        from: Instant,
        time: Duration,
        is_here: impl Fn(usize) -> bool,
    ) -> HashMap<usize, u32> {
        let (mut now, mut visits) = (from, HashMap::new());
        while now < from + time {
            requested.visit_due(now, |subscriber, _| {
                *visits.entry(subscriber.index()).or_default() += 1;
                is_here(subscriber.index())
            });
            let Some(next) = requested.next() else { break };
            now = next;
        }
        visits
    }

    fn add(
        requested: &mut RequestedHeartbeats,
        seconds: u32,
        ids: std::ops::Range<usize>,
        now: Instant,
    ) {
        for id in ids {
            requested.add(SECOND * seconds, SubscriberId::from_index(id), 0, now);
        }
    }

    #[test]
    fn each_group_is_visited_four_times_in_its_own_interval() {
        let (mut requested, start) = (RequestedHeartbeats::default(), Instant::now());
        add(&mut requested, 4, 0..3, start);
        add(&mut requested, 8, 3..200, start);
        let visits = visits(&mut requested, start, SECOND * 8, |_| true);
        assert_eq!(visits.len(), 200);
        for (id, times) in visits {
            let expected = if id < 3 { 8..=9 } else { 4..=5 };
            assert!(expected.contains(&times), "{id}: {times}");
        }
    }

    #[test]
    fn those_that_have_left_are_visited_once_more_and_the_last_ends_the_group() {
        let (mut requested, start) = (RequestedHeartbeats::default(), Instant::now());
        add(&mut requested, 4, 0..200, start);
        let first = visits(&mut requested, start, SECOND, |id| id % 2 == 0);
        assert!(first.len() == 200, "all are visited, although places move: {}", first.len());
        let second = visits(&mut requested, start + SECOND, SECOND, |_| false);
        assert_eq!((second.len(), requested.next()), (100, None));
    }
}
