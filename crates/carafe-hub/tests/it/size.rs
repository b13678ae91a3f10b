//! What an open stream costs.

use carafe_hub::{Frames, Subscription};

/// A hub may have a million streams open, so a byte here is a megabyte there. A change that needs
/// more raises the bound knowingly.
#[test]
fn a_stream_takes_no_more_memory_than_now() {
    assert!(size_of::<Subscription>() <= 152, "{}", size_of::<Subscription>());
    assert!(size_of::<Frames>() <= 160, "{}", size_of::<Frames>());
}
