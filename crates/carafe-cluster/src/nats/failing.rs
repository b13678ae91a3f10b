//! Whether a server is of use: it may live, and be cut off from the others or have no JetStream.

use std::time::Duration;

use tokio::time::Instant;

/// A connection is given up when one kind of request has failed for so long.
const USELESS: Duration = Duration::from_secs(3);

/// The kinds of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    State,
    Append,
    Get,
    Tail,
}

/// Since when the requests of a connection fail. Each kind counts by itself: a server that was cut
/// off as the leader tells its state for some time, and stores and delivers nothing.
#[derive(Debug, Default)]
pub(super) struct Failing([Option<Instant>; 4]);

impl Failing {
    /// A request has an answer, or none. Whether the connection is to be given up.
    pub(super) fn note(&mut self, kind: Asked, is_answered: bool, now: Instant) -> bool {
        let since = &mut self.0[kind as usize];
        if is_answered {
            *since = None;
            return false;
        }
        now.duration_since(*since.get_or_insert(now)) >= USELESS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second at which the connection is given up, if each second brings these answers.
    fn given_up(answers: &[(Asked, bool)]) -> Option<u64> {
        let (mut failing, start) = (Failing::default(), Instant::now());
        (0..60).find(|second| {
            let now = start + Duration::from_secs(*second);
            answers.iter().any(|(kind, is_answered)| failing.note(*kind, *is_answered, now))
        })
    }

    #[test]
    fn a_server_that_tells_its_state_and_delivers_nothing_is_given_up() {
        assert_eq!(given_up(&[(Asked::State, true), (Asked::Tail, false)]), Some(3));
        assert_eq!(given_up(&[(Asked::State, true), (Asked::Append, false)]), Some(3));
        assert_eq!(given_up(&[(Asked::State, false)]), Some(3));
    }

    #[test]
    fn a_server_that_fails_now_and_then_is_kept() {
        let now_and_then = [(Asked::Append, false), (Asked::Append, true)];
        assert_eq!(given_up(&now_and_then), None);
        assert_eq!(given_up(&[(Asked::State, true), (Asked::Tail, true)]), None);
    }
}
