//! The tests that every log has to pass, for another crate to run on a log of its own.
//!
//! Needs the feature `contract`; enable it for tests alone:
//!
//! ```toml
//! [dev-dependencies]
//! carafe-log = { version = "0.1", features = ["contract"] }
//! ```
//!
//! Implement [`Factory`] for a type that makes your logs, and have [`tests!`] write a test for each
//! rule of the contract:
//!
//! ```
//! use carafe_log::contract::Factory;
//! use carafe_log::{MemoryLimits, MemoryLog};
//! use carafe_protocol::Generation;
//!
//! struct Memory;
//!
//! impl Factory for Memory {
//!     type Log = MemoryLog;
//!
//!     fn roomy() -> MemoryLog {
//!         MemoryLog::default()
//!     }
//!
//!     fn supplied() -> MemoryLog {
//!         MemoryLog::with_generation(MemoryLimits::default(), Generation::new(7))
//!     }
//!
//!     fn tight() -> MemoryLog {
//!         MemoryLog::new(MemoryLimits::default().with_entries(8))
//!     }
//! }
//!
//! carafe_log::contract::tests!(Memory);
//! # fn main() {}
//! ```
//!
//! The tests run on the thread that calls them and some threads that they start and join. They use
//! the public traits of a log only, and know nothing of how a log stores entries.

#![expect(clippy::unwrap_used, reason = "a test that unwraps says what it expects")]

// The macro below calls the tests from another crate, so they have to be public.
#[doc(hidden)]
pub mod ends;
#[doc(hidden)]
pub mod erasing;
#[doc(hidden)]
pub mod followers;
#[doc(hidden)]
pub mod helpers;
#[doc(hidden)]
pub mod ids;
#[doc(hidden)]
pub mod latest;
#[doc(hidden)]
pub mod model;
#[doc(hidden)]
pub mod ordered;
#[doc(hidden)]
pub mod ordered_alike;
#[doc(hidden)]
pub mod patterns;
#[doc(hidden)]
pub mod positions;
#[doc(hidden)]
pub mod reading;
#[doc(hidden)]
pub mod supplied;

#[doc(inline)]
pub use crate::__contract_tests as tests;
use crate::{AppendAt, Log};

/// Makes the logs under test. Each call makes a new, empty log. The [module](self) has an example.
pub trait Factory {
    /// The log under test.
    type Log: Log + AppendAt + 'static;

    /// A log that keeps all entries that the tests append: at least 10 000 small ones.
    fn roomy() -> Self::Log;

    /// A log like [`roomy`](Self::roomy) that is supplied with its entries by another node. It
    /// answers [`Find::Ahead`](crate::Find::Ahead) for a position beyond its tail.
    fn supplied() -> Self::Log;

    /// A log with so small a history that it trims its oldest entries before 1000 small ones are
    /// appended. An append of no publications returns after history is trimmed to its limit.
    fn tight() -> Self::Log;
}

/// Writes a module `contract` with a test for each rule that the logs of a [`Factory`] have to
/// keep. The factory is named as at the place of the call.
#[doc(hidden)]
#[macro_export]
macro_rules! __contract_tests {
    ($factory:ty) => {
        mod contract {
            use super::*;

            $crate::__tests_of!($factory, reading: [
                an_empty_log_has_nothing_before_its_tail,
                appended_entries_are_read_back_in_order,
                an_append_once_polled_happens,
                a_log_that_was_closed_has_what_was_appended_before,
                batches_are_stored_in_the_order_in_which_they_were_first_polled,
                only_wanted_entries_are_read,
                an_entry_that_several_matchers_match_is_read_once,
                a_block_says_how_far_it_looked,
                a_block_keeps_its_limits_and_has_at_least_one_entry,
                reading_trimmed_history_is_an_error_that_names_the_start,
                the_last_entries_are_counted_by_what_is_wanted,
                private_entries_count_among_the_last_only_for_readers_that_may_see_them,
            ]);
            $crate::__tests_of!($factory, positions: [
                two_logs_are_two_generations,
                every_position_given_out_is_found,
                a_position_that_was_not_given_out_is_foreign,
                beyond_the_tail_of_a_single_writer_is_lost,
                beyond_the_tail_of_a_supplied_log_is_ahead,
                just_before_the_oldest_is_found_and_earlier_is_trimmed,
                a_position_between_sparse_offsets_is_foreign,
            ]);
            $crate::__tests_of!($factory, ids: [
                a_repeated_key_stores_nothing_and_answers_as_the_first_did,
                a_key_is_repeated_within_a_batch_too,
                a_key_is_valid_within_its_topic,
                a_key_is_forgotten_when_its_entry_is_trimmed,
                an_external_id_that_is_no_key_is_stored_each_time,
                an_external_id_finds_only_entries_that_the_reader_may_see,
                an_external_id_finds_its_earliest_entry_of_any_topic,
            ]);
            $crate::__tests_of!($factory, ends: [
                an_ended_topic_refuses_events_and_names_its_end,
                a_topic_ends_once_and_has_one_outcome,
                a_batch_is_decided_in_its_order,
                a_known_key_is_answered_after_the_end_too,
                a_reopened_topic_has_a_new_life,
                a_stop_is_known_until_the_topic_ends_or_is_reopened,
                supplied_entries_end_and_reopen_topics_and_are_never_refused,
                an_end_is_forgotten_when_its_entry_is_trimmed,
                of_two_that_end_a_topic_at_once_one_decides,
                whoever_reads_an_end_can_ask_for_it,
            ]);
            $crate::__tests_of!($factory, supplied: [
                supplied_entries_keep_their_offsets,
                supplied_entries_must_lie_beyond_the_tail,
                how_far_a_log_was_supplied_is_noted_behind_its_newest_entry,
            ]);
            $crate::__tests_of!($factory, ordered: [
                a_commit_has_the_offsets_nonces_and_time_that_it_was_given,
                what_is_not_stored_leaves_a_hole,
                each_batch_of_a_commit_is_decided_in_its_order,
                a_refused_batch_leaves_nothing_and_the_next_one_is_stored,
                commits_must_lie_beyond_the_tail_and_each_other,
                the_key_window_is_one_of_the_times_of_commits,
                ends_and_stops_hold_for_the_key_window,
                an_event_after_an_old_end_begins_a_new_life_and_keeps_a_stop,
                a_commit_that_has_stored_nothing_can_come_again,
                an_erasure_frees_a_key_for_later_batches_and_commits,
                the_newest_event_that_is_not_erased_has_a_key,
                a_follower_gets_each_commit_at_once,
                commits_may_be_far_apart,
                the_clock_of_a_supplied_log_follows_its_commits,
                the_place_between_two_commits_is_found_in_a_supplied_log,
            ]);
            $crate::__tests_of!($factory, ordered_alike: [
                batches_are_decided_alike_whether_appended_or_ordered,
                commits_are_decided_alike_however_they_are_divided_into_calls,
            ]);
            $crate::__tests_of!($factory, erasing: [
                an_erased_event_keeps_its_position_and_loses_its_content,
                an_event_is_erased_by_any_of_its_topics,
                one_event_can_be_erased,
                an_event_in_the_place_of_an_erased_one_stays,
                erasing_a_topic_without_events_or_again_is_fine,
                erased_events_are_not_among_the_last,
                erased_events_are_not_the_latest,
                an_erased_event_is_not_read_by_its_offset_before_the_erasure_is_carried_out,
                an_erased_event_is_not_found_by_its_external_id,
                the_key_of_an_erased_event_is_free_again,
                the_end_of_an_erased_topic_stays_known_without_its_reason,
                a_follower_that_comes_later_gets_nothing_erased,
                supplied_erasures_erase,
            ]);
            $crate::__tests_of!($factory, followers: [
                followers_get_every_batch_once_in_order,
                a_follower_is_given_the_newest_entries_first,
                a_batch_that_stores_nothing_is_not_handed_to_followers,
                concurrent_appenders_and_a_follower_agree,
                a_follower_that_comes_in_between_misses_nothing,
            ]);
            $crate::__tests_of!($factory, latest: [
                an_empty_log_has_no_newest_entry,
                each_topic_has_its_newest_entries_in_the_order_of_the_log,
                only_entries_after_an_offset_count,
                an_entry_may_be_the_newest_of_several_topics,
                the_newest_entry_is_one_that_the_reader_may_see,
                ends_and_stops_are_no_newest_entries,
                only_events_count_among_the_last,
                the_position_before_an_offset_is_that_of_an_entry_or_of_the_start,
                more_entries_than_the_limit_are_an_error,
                entries_are_read_by_their_offsets,
                entries_that_are_gone_are_left_out,
            ]);
            $crate::__tests_of!($factory, model: [
                random_use_agrees_with_a_vec,
            ]);
            $crate::__tests_of!($factory, patterns: [
                reading_agrees_with_a_test_of_each_entry,
                a_replay_by_pattern_misses_nothing_while_events_are_appended,
                supplied_entries_with_sparse_offsets_are_found_by_pattern,
            ]);
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __tests_of {
    ($factory:ty, $module:ident: [$($name:ident,)*]) => {
        mod $module {
            use super::*;

            $(
                #[test]
                fn $name() {
                    $crate::contract::$module::$name::<$factory>();
                }
            )*
        }
    };
}
