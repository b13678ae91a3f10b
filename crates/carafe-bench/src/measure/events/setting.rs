//! What all parts are measured with.

use crate::bench::Bench;
use crate::certificate::Certificate;
use crate::outcome::Outcome;

pub(super) struct Setting {
    pub(super) bench: Bench,
    pub(super) certificate: Certificate,
}

impl Setting {
    pub(super) fn new(bench: Bench) -> Outcome<Self> {
        Ok(Self { bench, certificate: Certificate::new()? })
    }
}
