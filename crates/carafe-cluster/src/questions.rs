//! The questions of readers whether a node has what the engine has.

use tokio::sync::{Notify, watch};

/// The questions whether the node has what the engine has.
#[derive(Default)]
pub(crate) struct Questions {
    rounds: watch::Sender<Rounds>,
    asked: Notify,
}

/// A round is one question to the engine, for all readers that have asked before it began.
#[derive(Clone, Copy, Default)]
struct Rounds {
    begun: u64,
    ended: u64,
    /// The answer of the last round that has ended.
    has_caught_up: bool,
}

impl Questions {
    /// Asks whether the node has everything that the engine has stored before this call, and waits
    /// for that.
    pub(crate) async fn ask(&self) -> bool {
        let mut rounds = self.rounds.subscribe();
        // A round that has begun may have its answer from before this call.
        let next = rounds.borrow_and_update().begun + 1;
        self.asked.notify_one();
        let answered = rounds.wait_for(|rounds| rounds.ended >= next).await;
        answered.is_ok_and(|rounds| rounds.has_caught_up)
    }

    /// Waits until a reader asks. The number of the round that begins.
    pub(crate) async fn next(&self) -> u64 {
        self.asked.notified().await;
        let mut round = 0;
        self.rounds.send_if_modified(|rounds| {
            rounds.begun += 1;
            round = rounds.begun;
            false
        });
        round
    }

    pub(crate) fn answer(&self, round: u64, has_caught_up: bool) {
        self.rounds
            .send_modify(|rounds| (rounds.ended, rounds.has_caught_up) = (round, has_caught_up));
    }
}
