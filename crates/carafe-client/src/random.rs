//! Random numbers, of the provider that TLS uses: no other crate is needed for them.

use std::sync::LazyLock;

use rustls::crypto::{SecureRandom, aws_lc_rs};

static SOURCE: LazyLock<&'static dyn SecureRandom> =
    LazyLock::new(|| aws_lc_rs::default_provider().secure_random);

/// A text that nothing else has, such as for an idempotency key.
pub(crate) fn unique() -> String {
    format!("{:032x}", u128::from_ne_bytes(bytes()))
}

/// A number from 0 to 1.
pub(crate) fn fraction() -> f64 {
    // As many bits as an `f64` has.
    (u64::from_ne_bytes(bytes()) >> 11) as f64 / (1_u64 << 53) as f64
}

fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SOURCE.fill(&mut bytes).expect("the operating system has random numbers");
    bytes
}
