//! Catching panics on the threads of a log, so that a caller that waits for such a thread gets an
//! error and does not hang.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `run` and returns the message of a panic as an error.
///
/// `AssertUnwindSafe` requires that the caller drops the state that `run` has changed, or that this
/// state is consistent at each point where `run` can panic.
pub(crate) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    // The panic hook has printed the location.
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| message(&*panic).to_owned())
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_reported_with_its_message() {
        assert_eq!(caught(|| 7), Ok(7));
        assert_eq!(caught(|| panic!("plain")), Err::<(), _>("plain".to_owned()));
        assert_eq!(caught(|| panic!("entry {}", 7)), Err::<(), _>("entry 7".to_owned()));
        assert_eq!(
            caught(|| std::panic::panic_any(7)),
            Err::<(), _>("a panic without a message".to_owned())
        );
    }
}
