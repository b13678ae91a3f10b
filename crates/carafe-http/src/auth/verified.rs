//! A token that was taken.

use std::time::SystemTime;

use serde_json::Value;

use crate::auth::Dialect;

/// What a token says, signed by a key that is trusted, and valid now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Verified {
    /// All claims: always an object.
    pub claims: Value,
    /// By which rules they are to be read.
    pub dialect: Dialect,
    /// When the token's time is over; a stream ends then. Only tokens of Mercure 0.x may have none.
    pub expires: Option<SystemTime>,
    /// Tells one holder from another while the process runs, such as for a limit on how much each
    /// may publish: the same for all tokens of one key, issuer and subject, or for one token if it
    /// names no subject.
    pub identity: u64,
}
