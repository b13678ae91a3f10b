//! Decides what is done with the next messages of the tail. No I/O, no clock: the decision depends
//! on the messages alone, so that all nodes come to the same.

use std::collections::VecDeque;

use carafe_log::{Commit, OrderedCommit};
use carafe_protocol::Position;

use crate::message::{MessageId, NoCommit, Stored};
use crate::offsets::first_offset;
use crate::place::Place;

/// What to do with the next messages, before the tail is asked for more.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// The commits to apply, in order, and the ID of each.
    pub(crate) commits: Vec<OrderedCommit>,
    pub(crate) ids: Vec<Option<MessageId>>,
    /// The messages that no node applies.
    pub(crate) skipped: Vec<Skipped>,
    /// What stands in the way of the message that is next.
    pub(crate) obstacle: Option<Obstacle>,
}

/// A message that no node applies.
#[derive(Debug)]
pub(crate) struct Skipped {
    pub(crate) sequence: u64,
    pub(crate) id: Option<MessageId>,
    pub(crate) why: NoCommit,
}

impl Skipped {
    /// The commit of a node that came too late, if it is one.
    pub(crate) fn late(&self) -> Option<MessageId> {
        self.id.filter(|_| matches!(self.why, NoCommit::Late { .. }))
    }
}

/// Why a message cannot be applied now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// Messages before this one are missing. The engine knows whether they are gone.
    Hole { next: u64 },
    /// It was applied before: the engine counts anew, or the tail is not in order.
    Repeated { sequence: u64 },
    /// It is in a newer format. To skip it would be to decide otherwise than newer nodes.
    Newer { sequence: u64, format: u32 },
}

impl Round {
    /// Takes messages as far as they can be applied, and moves the place behind them.
    pub(crate) fn take(place: &mut Place, messages: &mut VecDeque<Stored>) -> Self {
        let mut round = Self::default();
        while let Some(message) = messages.front() {
            round.obstacle = obstacle(place, message);
            if round.obstacle.is_some() {
                return round;
            }
            round.add(place, message);
            messages.pop_front();
        }
        round
    }

    fn add(&mut self, place: &mut Place, message: &Stored) {
        let sequence = message.sequence;
        place.applied = sequence;
        match commit_of(message) {
            Ok(commit) => {
                let first = first_offset(sequence);
                let (generation, nonce) = (place.generation, commit.nonce(0));
                place.witness = Some(Position { generation, offset: first, nonce });
                self.commits.push(OrderedCommit { commit, first, time: message.time });
                self.ids.push(message.id);
            }
            Err(why) => self.skipped.push(Skipped { sequence, id: message.id, why }),
        }
    }
}

fn obstacle(place: &Place, message: &Stored) -> Option<Obstacle> {
    let sequence = message.sequence;
    if sequence <= place.applied {
        return Some(Obstacle::Repeated { sequence });
    }
    if sequence > place.applied + 1 {
        return Some(Obstacle::Hole { next: sequence });
    }
    match message.commit(Commit::FORMAT) {
        Err(NoCommit::Newer { format }) => Some(Obstacle::Newer { sequence, format }),
        _ => None,
    }
}

fn commit_of(message: &Stored) -> Result<Commit, NoCommit> {
    Ok(Commit::decode(message.commit(Commit::FORMAT)?)?)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use bytes::Bytes;
    use carafe_log::Publication;
    use carafe_protocol::{Generation, Topic};
    use carafe_testing::process::seed;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::message::{LATE, Message};

    fn start() -> Place {
        Place { generation: Generation::new(7), applied: 0, witness: None }
    }

    fn commit(data: &str) -> Message {
        let batches = vec![vec![Publication::new(Topic::new("a").unwrap(), data)]];
        message(Commit::FORMAT, Commit { seed: 7, batches }.encode())
    }

    fn message(format: u32, payload: impl Into<Bytes>) -> Message {
        Message::new(format, UNIX_EPOCH, payload)
    }

    fn stored(sequence: u64, message: Message) -> Stored {
        let Message { id, format, checksum, payload, .. } = message;
        let (id, format, checksum) = (Some(id), Some(format), Some(checksum));
        let time = UNIX_EPOCH + Duration::from_secs(sequence);
        Stored { sequence, time, id, format, sent: Some(time), checksum, payload }
    }

    fn foreign(sequence: u64) -> Stored {
        Stored { format: None, ..stored(sequence, commit("foreign")) }
    }

    fn late(sequence: u64) -> Stored {
        let on_time = stored(sequence, commit("late"));
        Stored { time: on_time.time + 2 * LATE, ..on_time }
    }

    fn take(place: &mut Place, messages: &[Stored]) -> (Round, usize) {
        let mut messages = VecDeque::from(messages.to_vec());
        let round = Round::take(place, &mut messages);
        (round, messages.len())
    }

    #[test]
    fn commits_get_their_offset_and_time_from_the_engine() {
        let mut place = start();
        let messages = [stored(1, commit("one")), foreign(2), stored(3, commit("three"))];
        let (round, left) = take(&mut place, &messages);
        assert_eq!((left, round.obstacle), (0, None));
        assert_eq!(round.ids, [messages[0].id, messages[2].id]);
        let places: Vec<_> =
            round.commits.iter().map(|commit| (commit.first, commit.time)).collect();
        assert_eq!(
            places,
            [(first_offset(1), messages[0].time), (first_offset(3), messages[2].time)]
        );
        let skipped: Vec<_> = round.skipped.iter().map(|skipped| skipped.sequence).collect();
        assert_eq!(skipped, [2]);
        assert_eq!(place.applied, 3);
        assert_eq!(place.witness.unwrap().offset, first_offset(3));
    }

    #[test]
    fn a_round_ends_before_what_cannot_be_applied() {
        let one = || stored(1, commit("one"));
        let newer = stored(2, message(Commit::FORMAT + 1, "newer"));
        let format = Commit::FORMAT + 1;
        for (second, obstacle) in [
            (stored(3, commit("three")), Obstacle::Hole { next: 3 }),
            (one(), Obstacle::Repeated { sequence: 1 }),
            (newer, Obstacle::Newer { sequence: 2, format }),
        ] {
            let mut place = start();
            let (round, left) = take(&mut place, &[one(), second, stored(4, commit("four"))]);
            assert_eq!((round.commits.len(), round.obstacle), (1, Some(obstacle)));
            assert_eq!((left, place.applied), (2, 1));
        }
    }

    #[test]
    fn a_commit_that_comes_late_is_skipped_and_its_node_can_be_told() {
        let mut place = start();
        let messages = [stored(1, commit("one")), late(2), foreign(3)];
        let (round, _) = take(&mut place, &messages);
        assert_eq!((round.commits.len(), place.applied), (1, 3));
        assert_eq!(place.witness.unwrap().offset, first_offset(1));
        let late: Vec<_> = round.skipped.iter().map(Skipped::late).collect();
        assert_eq!(late, [messages[1].id, None]);
    }

    #[test]
    fn damaged_commits_are_skipped() {
        for payload in ["", "short", "long enough to be something"] {
            let mut place = start();
            let (round, _) = take(&mut place, &[stored(1, message(Commit::FORMAT, payload))]);
            assert_eq!((round.commits.len(), round.skipped.len()), (0, 1));
            assert_eq!((place.applied, place.witness), (1, None));
        }
    }

    /// A node reads messages in any pieces, and again after a restart.
    #[test]
    fn the_decision_does_not_depend_on_how_messages_arrive() {
        let mut random = StdRng::seed_from_u64(seed());
        for _ in 0..200 {
            let messages: Vec<_> = (1..random.random_range(2..40))
                .map(|sequence| match random.random_range(0..5) {
                    0 => foreign(sequence),
                    2 => late(sequence),
                    1 => stored(sequence, message(Commit::FORMAT, "damaged")),
                    _ => stored(sequence, commit(&sequence.to_string())),
                })
                .collect();
            let mut at_once = start();
            let (expected, _) = take(&mut at_once, &messages);
            let (mut place, mut commits, mut next) = (start(), Vec::new(), 0);
            while next < messages.len() {
                let end = random.random_range(next..=messages.len());
                let (round, left) = take(&mut place, &messages[next..end]);
                assert_eq!((left, round.obstacle), (0, None));
                commits.extend(round.commits);
                next = end;
                // A restart: the witness is found in the log, or was trimmed.
                if random.random_ratio(1, 5) {
                    let known = random.random_ratio(1, 2);
                    place.witness = place.witness.filter(|_| known);
                }
            }
            assert_eq!(commits, expected.commits);
            assert_eq!(place.applied, at_once.applied);
        }
    }
}
