//! The events that a subscriber has received, and their faults.

use std::fmt;

use carafe_protocol::{Position, ReceivedEvent};

/// The publishers of a run.
pub(crate) const PUBLISHERS: usize = 20;

/// Events that went wrong, by how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) disordered: u64,
    /// `carafe.gap` events.
    pub(crate) gaps: u64,
    /// Events that no publisher has sent.
    pub(crate) strange: u64,
}

impl Faults {
    pub(crate) fn count(&self) -> u64 {
        let Self { lost, doubled, disordered, gaps, strange } = self;
        lost + doubled + disordered + gaps + strange
    }

    pub(super) fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.disordered += other.disordered;
        self.gaps += other.gaps;
        self.strange += other.strange;
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lost, doubled, disordered, gaps, strange } = self;
        write!(
            f,
            "{lost} lost, {doubled} doubled, {disordered} out of order, {gaps} gaps, {strange} \
             strange"
        )
    }
}

/// The publishers that a subscriber follows, and the number of each one's newest event.
pub(super) struct Seen {
    wanted: Vec<usize>,
    newest: [u64; PUBLISHERS],
    offset: u64,
    pub(super) events: u64,
    pub(super) faults: Faults,
}

impl Seen {
    pub(super) fn of(wanted: Vec<usize>) -> Self {
        Self { wanted, newest: [0; PUBLISHERS], offset: 0, events: 0, faults: Faults::default() }
    }

    /// Takes an event of the stream.
    pub(super) fn take(&mut self, event: &ReceivedEvent) {
        match event.event_type.as_str() {
            "message" => {}
            "carafe.gap" => return self.faults.gaps += 1,
            _ => return,
        }
        self.events += 1;
        let position = event.last_event_id.parse::<Position>().ok();
        let Some((publisher, number, position)) =
            numbers(&event.data).zip(position).map(|((p, n), at)| (p, n, at))
        else {
            return self.faults.strange += 1;
        };
        if !self.wanted.contains(&publisher) {
            return self.faults.strange += 1;
        }
        let newest = &mut self.newest[publisher];
        if number <= *newest {
            self.faults.doubled += 1;
        } else {
            self.faults.lost += number - *newest - 1;
            *newest = number;
        }
        self.faults.disordered += u64::from(position.offset <= self.offset);
        self.offset = position.offset;
    }

    /// The number of published events that it has not received.
    pub(super) fn lacks(&self, published: &[u64; PUBLISHERS]) -> u64 {
        self.wanted
            .iter()
            .map(|publisher| published[*publisher].saturating_sub(self.newest[*publisher]))
            .sum()
    }
}

fn numbers(data: &str) -> Option<(usize, u64)> {
    let (publisher, number) = data.split_once(' ')?;
    let publisher = publisher.parse().ok().filter(|publisher| *publisher < PUBLISHERS)?;
    Some((publisher, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{Faults, PUBLISHERS, Seen};
    use carafe_protocol::{Decoder, Received};

    fn seen(events: &[(u64, &str)]) -> Seen {
        let mut seen = Seen::of(vec![3]);
        let stream: String = events
            .iter()
            .map(|(offset, data)| format!("id: 5f0c9a3be812-{offset}-0badcafe\ndata: {data}\n\n"))
            .collect();
        let mut input = stream.as_bytes();
        let mut decoder = Decoder::new();
        while let Some(received) = decoder.decode(&mut input).unwrap() {
            if let Received::Event(event) = received {
                seen.take(&event);
            }
        }
        seen
    }

    #[test]
    fn what_is_lost_doubled_or_out_of_order_is_found() {
        let none = Faults::default();
        assert_eq!(seen(&[(1, "3 1"), (5, "3 2")]).faults, none);
        assert_eq!(seen(&[(1, "3 1"), (5, "3 4")]).faults, Faults { lost: 2, ..none });
        assert_eq!(seen(&[(1, "3 1"), (2, "3 1")]).faults, Faults { doubled: 1, ..none });
        assert_eq!(seen(&[(2, "3 1"), (1, "3 2")]).faults, Faults { disordered: 1, ..none });
        assert_eq!(seen(&[(1, "4 1")]).faults, Faults { strange: 1, ..none });
    }

    #[test]
    fn what_never_came_is_lacking() {
        let mut published = [0; PUBLISHERS];
        published[3] = 5;
        assert_eq!(seen(&[(1, "3 1")]).lacks(&published), 4);
    }
}
