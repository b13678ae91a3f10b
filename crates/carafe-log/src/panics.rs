//! Threads that go on after a panic, so that whoever waits for them gets an error.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs something, and says what a panic in it said. The caller gives up what was being done, or
/// leaves it in a state that holds wherever it was interrupted.
pub(crate) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    // The panic hook has written where it was.
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| message(&*panic).to_owned())
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_by_its_text() {
        assert_eq!(caught(|| 7), Ok(7));
        assert_eq!(caught(|| panic!("plain")), Err::<(), _>("plain".to_owned()));
        assert_eq!(caught(|| panic!("entry {}", 7)), Err::<(), _>("entry 7".to_owned()));
        assert_eq!(
            caught(|| std::panic::panic_any(7)),
            Err::<(), _>("a panic without a text".to_owned())
        );
    }
}
