//! The result of a measurement.

use std::error::Error;

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error>>;
