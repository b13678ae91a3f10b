//! Entries that another node supplies, with the offsets they have there.

use std::time::Duration;

use super::Factory;
use super::helpers::{any, append_one, find, keyed, publication, read_all, supplied, wait};
use super::ordered::{commit, store};
use crate::{AppendAt, AppendAtError, Entry, Find, Read};

pub fn supplied_entries_keep_their_offsets<F: Factory>() {
    let log = F::roomy();
    let entries: Vec<Entry> =
        [3, 4, 1000].map(|offset| supplied(&log, offset, keyed("a", &offset.to_string()))).into();
    wait(log.append_at(entries.clone())).unwrap();
    let read = read_all(&log, log.span().start.offset, &any());
    assert!(read.iter().map(|entry| &**entry).eq(&entries), "time and nonce too");
    assert!(entries.iter().all(|entry| find(&log, entry.position) == Find::Found));
    assert_eq!(log.span().tail, entries[2].position);
    assert_eq!(append_one(&log, keyed("a", "3")), entries[0].position, "their keys count");
    assert!(append_one(&log, publication("a", "")).offset > 1000);
}

pub fn supplied_entries_must_lie_beyond_the_tail<F: Factory>() {
    let log = F::roomy();
    let at = |offset| supplied(&log, offset, publication("a", ""));
    wait(log.append_at(vec![at(5)])).unwrap();
    let before = log.span();
    assert_eq!(
        wait(log.append_at(vec![at(5)])),
        Err(AppendAtError::OutOfOrder { offset: 5, tail: 5 })
    );
    assert_eq!(
        wait(log.append_at(vec![at(8), at(9), at(9)])),
        Err(AppendAtError::OutOfOrder { offset: 9, tail: 9 })
    );
    assert_eq!(
        wait(log.append_at(vec![at(8), at(7)])),
        Err(AppendAtError::OutOfOrder { offset: 7, tail: 8 })
    );
    assert_eq!(log.span(), before, "all or none");
    assert_eq!(wait(log.append_at(Vec::new())), Ok(()));
}

/// The newest commits may have stored nothing: all of it was known.
pub fn how_far_a_log_was_supplied_is_noted_behind_its_newest_entry<F: Factory>() {
    let log = F::supplied();
    store(&log, vec![commit(1, Duration::ZERO, vec![vec![keyed("a", "1")]])]);
    let tail = log.span().tail.offset;
    assert_eq!(log.supplied_up_to(), tail);
    for (noted, up_to) in [(tail - 1, tail), (tail + 5, tail + 5)] {
        wait(log.note_supplied(noted));
        assert_eq!(log.supplied_up_to(), up_to);
    }
    store(&log, vec![commit(2, Duration::ZERO, vec![vec![keyed("a", "2")]])]);
    assert_eq!(log.supplied_up_to(), log.span().tail.offset);
}
