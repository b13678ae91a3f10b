//! Memory that a burst of bodies has taken is given back to the system.

use std::time::Duration;

use carafe_http::BodyBudget;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

/// What bodies hold at a time in a burst.
const BURST: usize = 8 << 20;

/// For how long bodies have held less when a burst is over.
const PAUSE: Duration = Duration::from_secs(2);

/// Gives memory back after each burst. glibc keeps what small events have taken, since other
/// allocations lie between, and what large buffers have taken, since it expects more of them.
pub(crate) async fn give_back(bodies: BodyBudget) {
    let mut pauses = interval(PAUSE);
    pauses.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut burst = false;
    loop {
        pauses.tick().await;
        let is_high = bodies.take_peak() > BURST;
        if burst && !is_high {
            // It takes milliseconds, and blocks whoever allocates meanwhile.
            let _ = spawn_blocking(trim).await;
        }
        burst = is_high;
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn trim() {
    #[expect(unsafe_code, reason = "nothing binds this function of the C library")]
    unsafe extern "C" {
        // It takes no pointer, and may be called at any time from any thread: malloc_trim(3).
        safe fn malloc_trim(pad: usize) -> std::ffi::c_int;
    }
    let given_back = malloc_trim(0) == 1;
    tracing::debug!(given_back, "memory after a burst of bodies");
}

/// Other allocators give memory back by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}
