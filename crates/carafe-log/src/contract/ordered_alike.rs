//! Random batches, which are decided alike however they come.

use std::time::Duration;

use proptest::prelude::*;

use super::Factory;
use super::helpers::{any, check_random, read_all, wait};
use super::model::{Draft, draft};
use super::ordered::commit;
use crate::{
    Append, AppendAt, AppendError, Appended, Entry, Erase, Kind, OrderedAnswers, OrderedCommit,
    Publication, Read,
};

const SEED: u64 = 0xA11CE;
const CASES: u32 = 128;

/// The answer to a batch, with the numbers of entries in the history in place of their positions.
type Answer = Result<Vec<(usize, bool)>, Refused>;

#[derive(Debug, PartialEq, Eq)]
enum Refused {
    Ended(Option<usize>),
    Other(AppendError),
}

fn batches() -> impl Strategy<Value = Vec<Vec<Publication>>> {
    let batch = prop::collection::vec(draft().prop_map(Draft::publication), 0..4);
    // Offsets differ between the logs, so no event is erased by its own.
    let has_none = |batch: &Vec<Publication>| {
        !batch.iter().any(|publication| matches!(publication.kind(), Kind::Erase(Erase::One(_))))
    };
    prop::collection::vec(batch.prop_filter("erases by an offset", has_none), 0..30)
}

/// The entries without their positions and times.
fn history(log: &impl Read) -> Vec<Publication> {
    let entries = read_all(log, log.span().start.offset, &any());
    entries.iter().map(|entry| entry.publication.clone()).collect()
}

fn numbered(log: &impl Read, answer: Result<Vec<Appended>, AppendError>) -> Answer {
    let entries = read_all(log, log.span().start.offset, &any());
    let number = |position| {
        entries.iter().position(|entry| entry.position == position).expect("it is in the history")
    };
    answer.map(|all| all.iter().map(|one| (number(one.position), one.repeated)).collect()).map_err(
        |error| match error {
            AppendError::Ended { position, .. } => Refused::Ended(position.map(number)),
            error => Refused::Other(error),
        },
    )
}

/// What a node stores and answers does not depend on how batches reach it: appended, as commits of
/// their own, or together in one commit.
pub fn batches_are_decided_alike_whether_appended_or_ordered<F: Factory>() {
    check_random(SEED, CASES, &batches(), |batches| {
        let (appended, each, together) = (F::supplied(), F::supplied(), F::supplied());
        let of_appended: Vec<_> =
            batches.iter().map(|batch| wait(appended.append(batch.clone()))).collect();
        let of_each = (1..).zip(&batches).map(|(sequence, batch)| {
            let ordered = commit(sequence, Duration::from_secs(sequence), vec![batch.clone()]);
            wait(each.append_ordered(vec![ordered])).unwrap().remove(0).remove(0)
        });
        let of_each: Vec<_> = of_each.collect();
        let ordered = commit(1, Duration::ZERO, batches);
        let of_together = wait(together.append_ordered(vec![ordered])).unwrap().remove(0);
        let of = |log: &F::Log, answers: Vec<_>| {
            let answers: Vec<_> = answers.into_iter().map(|answer| numbered(log, answer)).collect();
            (history(log), answers)
        };
        let expected = of(&appended, of_appended);
        assert_eq!(of(&each, of_each), expected);
        assert_eq!(of(&together, of_together), expected);
    });
}

/// All nodes have the same entries, with the same positions and times, although one follows commit
/// by commit and another reads many at once.
pub fn commits_are_decided_alike_however_they_are_divided_into_calls<F: Factory>() {
    // Hours between commits: some keys are forgotten, some are not.
    let commits = prop::collection::vec((0..20_u64, batches()), 0..6);
    let divisions = prop::collection::vec(1..4_usize, 6);
    check_random(SEED, CASES, &(commits, divisions), |(commits, divisions)| {
        let mut hours = 0;
        let commits = (1..).zip(commits).map(|(sequence, (passed, batches))| {
            hours += passed;
            commit(sequence, Duration::from_secs(3600 * hours), batches)
        });
        let commits: Vec<_> = commits.collect();
        let one_by_one = stored::<F>(commits.clone(), &[1; 6]);
        assert_eq!(stored::<F>(commits.clone(), &[6]), one_by_one);
        assert_eq!(stored::<F>(commits, &divisions), one_by_one);
    });
}

type Stored = (OrderedAnswers, Vec<Entry>);

/// The answers and the history after calls with so many commits each.
fn stored<F: Factory>(mut commits: Vec<OrderedCommit>, divisions: &[usize]) -> Stored {
    let (log, mut answers) = (F::supplied(), Vec::new());
    for count in divisions {
        let rest = commits.split_off(commits.len().min(*count));
        answers.extend(wait(log.append_ordered(std::mem::replace(&mut commits, rest))).unwrap());
    }
    let entries = read_all(&log, log.span().start.offset, &any());
    (answers, entries.iter().map(|entry| Entry::clone(entry)).collect())
}
