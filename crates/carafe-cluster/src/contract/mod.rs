//! The tests that every engine has to pass, for another crate to run on an engine of its own.
//!
//! Needs the feature `contract`. Implement [`Subject`] for a type that starts an engine, and have
//! [`tests!`] write a test for each rule:
//!
//! ```
//! use std::future::ready;
//! use std::sync::Arc;
//!
//! use carafe_cluster::contract::Subject;
//! use carafe_cluster::{MemoryEngine, Setup};
//! use carafe_log::BoxFuture;
//!
//! struct Memory(MemoryEngine);
//!
//! impl Subject for Memory {
//!     fn start(_: &'static str, payload: usize) -> BoxFuture<'static, Option<Self>> {
//!         Box::pin(ready(Some(Self(MemoryEngine::new("CONTRACT").with_payload(payload)))))
//!     }
//!
//!     fn engine(&self) -> Arc<dyn Setup> {
//!         Arc::new(self.0.clone())
//!     }
//!
//!     fn insert_foreign(&self, payload: &'static [u8]) -> BoxFuture<'_, ()> {
//!         self.0.insert_foreign(payload);
//!         Box::pin(ready(()))
//!     }
//!
//!     fn trim(&self, first: u64) -> BoxFuture<'_, ()> {
//!         self.0.trim(first);
//!         Box::pin(ready(()))
//!     }
//! }
//!
//! carafe_cluster::contract::tests!(Memory, start_paused = true);
//! # fn main() {}
//! ```
//!
//! What follows the engine is passed on to `#[tokio::test]`, which the calling crate needs.

#![expect(clippy::unwrap_used, reason = "a test that unwraps says what it expects")]

// The macro below calls the tests from another crate, so they have to be public.
#[doc(hidden)]
pub mod appending;
mod helpers;
#[doc(hidden)]
pub mod tails;

use std::sync::Arc;

use carafe_log::BoxFuture;

#[doc(inline)]
pub use crate::__engine_contract as tests;
use crate::Setup;

/// An engine under test. The [module](self) has an example.
pub trait Subject: Sized + Send + Sync + 'static {
    /// Starts a new, empty engine that takes payloads of at least `payload` bytes, and of no more
    /// than some kilobytes beyond. It recognizes what is sent again for at least a minute.
    ///
    /// `None` if it cannot be started here: the test of this name is skipped, and the reason was
    /// printed.
    fn start(test: &'static str, payload: usize) -> BoxFuture<'static, Option<Self>>;

    /// The engine. Each call may be a connection of its own.
    fn engine(&self) -> Arc<dyn Setup>;

    /// Stores a message that is not from Carafe.
    fn insert_foreign(&self, payload: &'static [u8]) -> BoxFuture<'_, ()>;

    /// Removes all messages before sequence `first`, which is stored.
    fn trim(&self, first: u64) -> BoxFuture<'_, ()>;
}

/// Writes a module `contract` with a test for each rule that an engine has to keep.
#[doc(hidden)]
#[macro_export]
macro_rules! __engine_contract {
    ($subject:ty $(, $option:ident = $value:tt)*) => {
        mod contract {
            use super::*;

            $crate::__engine_tests!($subject, appending, ($($option = $value),*): [
                an_empty_engine_has_nothing,
                messages_are_numbered_in_order_from_one,
                a_message_is_read_back_as_it_was_sent,
                the_time_of_messages_is_that_of_the_engine,
                the_same_id_is_stored_once,
                a_payload_beyond_the_limit_is_refused_and_not_stored,
                appends_at_once_get_a_sequence_each,
                a_message_of_another_program_is_no_commit,
                trimmed_messages_are_gone_and_the_others_stay,
                the_identity_stays_the_same,
                what_exists_is_not_created_again,
            ]);
            $crate::__engine_tests!($subject, tails, ($($option = $value),*): [
                a_tail_delivers_what_is_stored_and_what_comes,
                a_tail_begins_at_its_sequence,
                a_tail_of_trimmed_messages_begins_with_the_oldest,
                a_tail_beyond_the_end_is_an_error,
                a_tail_just_behind_the_end_waits_for_the_next,
                a_quiet_tail_has_a_heartbeat,
                a_future_that_is_dropped_takes_no_message_with_it,
                a_long_backlog_is_delivered_in_order,
                a_tail_and_get_deliver_the_same,
                all_tails_deliver_the_same_while_many_append,
            ]);
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __engine_tests {
    ($subject:ty, $module:ident, ($($option:ident = $value:tt),*): [$($name:ident,)*]) => {
        $crate::__engine_tests!(@ $subject, $module, [$($option = $value),*], [$($name)*]);
    };
    (@ $subject:ty, $module:ident, $options:tt, [$($name:ident)*]) => {
        mod $module {
            use super::*;

            $($crate::__engine_test!($subject, $module, $name, $options);)*
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __engine_test {
    ($subject:ty, $module:ident, $name:ident, [$($option:ident = $value:tt),*]) => {
        #[tokio::test($($option = $value),*)]
        async fn $name() {
            let started = <$subject as $crate::contract::Subject>::start(stringify!($name), 1 << 16);
            if let Some(subject) = started.await {
                $crate::contract::$module::$name(&subject).await;
            }
        }
    };
}
