//! Where a node stands in the engine's order, and whether the engine agrees. No I/O.

use carafe_log::{AppendAt, Commit, Read, Span};
use carafe_protocol::{Generation, Position};

use crate::engine::State;
use crate::message::{NoCommit, Stored};
use crate::offsets::{first_offset, offset_before, sequence_of};

/// How far a node has applied the engine's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) generation: Generation,
    /// The sequence of the last message that was applied or skipped.
    pub(crate) applied: u64,
    /// The position of a publication of the last commit that was applied: its nonce tells the
    /// commit from another that was given the same sequence. `None` before the first commit.
    pub(crate) witness: Option<Position>,
}

/// Why the local log of a node is not a part of what the engine has.
///
/// ```
/// use carafe_cluster::Divergence;
///
/// let why = Divergence::LostTail { applied: 7, last: 5 };
/// assert!(why.to_string().contains("5"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Divergence {
    /// The engine has removed messages that this node has not read.
    #[error(
        "the engine begins at message {first}, and this node has read up to {applied}: what is \
         between them is gone"
    )]
    Overtaken {
        /// The last message that the node has read.
        applied: u64,
        /// The first message that the engine has.
        first: u64,
    },
    /// The engine has lost its newest messages.
    #[error("the engine ends at message {last}, and this node has read up to {applied}")]
    LostTail {
        /// The last message that the node has read.
        applied: u64,
        /// The last message that the engine has.
        last: u64,
    },
    /// The engine has another message where the node has read one.
    #[error("the engine's message {sequence} is another one than this node has read")]
    OtherMessage {
        /// The sequence of the message.
        sequence: u64,
    },
    /// The log has trimmed entries whose keys and ends still decide over what comes, and does not
    /// know them any more. The engine still has them.
    #[error(
        "this node's log begins behind message {start}, and knows no keys and ends of older events \
         that still decide over what is published"
    )]
    LacksKeys {
        /// The last message that the log has trimmed.
        start: u64,
    },
    /// The engine's stream was created anew, or is another one.
    #[error("the engine's stream is another one ({found}) than this node has read ({expected})")]
    OtherStream {
        /// The generation of the node's log.
        expected: Generation,
        /// The generation of the stream.
        found: Generation,
    },
}

impl Divergence {
    /// Whether a server may find it that has lost its lead and does not know it. It is certain when
    /// it lasts.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::LostTail { .. } | Self::OtherMessage { .. } => true,
            // A server that is behind has no newer first message, and no other stream.
            Self::Overtaken { .. } | Self::LacksKeys { .. } | Self::OtherStream { .. } => false,
        }
    }
}

impl Place {
    /// The place of a log that nothing else fills.
    pub(crate) fn of(log: &(impl AppendAt + Read + ?Sized)) -> Self {
        let Span { tail, oldest, .. } = log.span();
        // A log that has had no entry starts at a position without a nonce.
        let has_entry = oldest.is_some() || tail.nonce != 0;
        // An empty log has nothing to tell whether the engine still has what was supplied.
        let applied = if has_entry { log.supplied_up_to() } else { tail.offset };
        Self {
            generation: tail.generation,
            applied: sequence_of(applied),
            witness: has_entry.then_some(tail),
        }
    }

    /// Moves to where a log stands, if it has more. A log that refused an append may have stored a
    /// part of it.
    pub(crate) fn catch_up(&mut self, log: &(impl AppendAt + Read)) {
        let of_log = Self::of(log);
        if of_log.applied > self.applied {
            *self = of_log;
        }
    }

    /// The message to compare with the witness, if the engine still has it.
    pub(crate) fn compared(&self, state: &State) -> Option<u64> {
        let sequence = sequence_of(self.witness?.offset);
        (state.first..=state.last).contains(&sequence).then_some(sequence)
    }

    /// Compares the place with the engine. `message` is the one of [`compared`](Self::compared).
    pub(crate) fn judge(&self, state: &State, message: Option<&Stored>) -> Result<(), Divergence> {
        let &Self { generation: expected, applied, witness } = self;
        let State { ref identity, first, last, .. } = *state;
        if identity.generation != expected {
            return Err(Divergence::OtherStream { expected, found: identity.generation });
        }
        // Skipped messages behind the last commit do not count.
        if last < witness.map_or(applied, |witness| sequence_of(witness.offset)) {
            return Err(Divergence::LostTail { applied, last });
        }
        // An empty log has nothing yet that a hole could tear apart.
        if first > applied + 1 && witness.is_some() {
            return Err(Divergence::Overtaken { applied, first });
        }
        match (witness, message) {
            (Some(witness), Some(message)) if !is_of(witness, message) => {
                Err(Divergence::OtherMessage { sequence: message.sequence })
            }
            _ => Ok(()),
        }
    }
}

/// Lets a log note how far it has come, if its newest entry does not say so. Else a log whose
/// newest commits have stored nothing would seem overtaken when the engine has removed them.
pub(crate) async fn note_applied(log: &(impl AppendAt + Read), applied: u64) {
    if applied > sequence_of(log.span().tail.offset) {
        log.note_supplied(offset_before(applied + 1)).await;
    }
}

/// Whether a position is one of a message's commit.
pub(crate) fn is_of(position: Position, message: &Stored) -> bool {
    let payload = match message.commit(Commit::FORMAT) {
        Ok(payload) => payload,
        // Only a newer version can compare it. This one stops when it comes to such a message.
        Err(NoCommit::Newer { .. }) => return true,
        Err(_) => return false,
    };
    let Ok(commit) = Commit::decode(payload) else { return false };
    let number = position.offset - first_offset(sequence_of(position.offset));
    usize::try_from(number).is_ok_and(|number| commit.nonce(number) == position.nonce)
}
