//! Returns freed memory to the system after a burst of request bodies.
//!
//! A task watches how much memory bodies use. The allocator is asked on a blocking thread.

use std::time::Duration;

use carafe_http::BodyBudget;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

/// Memory of all bodies from which on it counts as a burst.
const BURST: usize = 8 << 20;

/// A burst is over when bodies have used less than `BURST` for this long.
const PAUSE: Duration = Duration::from_secs(2);

/// Trims the heap after each burst. glibc does not return the memory of small events, because other
/// allocations lie between them, nor that of large buffers, because it raises its mmap threshold.
pub(crate) async fn give_back(bodies: BodyBudget) {
    let mut pauses = interval(PAUSE);
    pauses.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut burst = false;
    loop {
        pauses.tick().await;
        let is_high = bodies.take_peak() > BURST;
        if burst && !is_high {
            // Takes milliseconds and holds the lock of the allocator meanwhile.
            let _ = spawn_blocking(trim).await;
        }
        burst = is_high;
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn trim() {
    #[expect(unsafe_code, reason = "nothing binds this function of the C library")]
    unsafe extern "C" {
        // SAFETY: takes no pointers, and may be called at any time from any thread: malloc_trim(3).
        safe fn malloc_trim(pad: usize) -> std::ffi::c_int;
    }
    let given_back = malloc_trim(0) == 1;
    tracing::debug!(given_back, "trimmed the heap after a burst of bodies");
}

/// Other allocators return memory without being asked.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}
