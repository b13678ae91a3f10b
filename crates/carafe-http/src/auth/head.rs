//! What a token says of itself before anything of it is trusted.

use jsonwebtoken::{Algorithm, decode_header};

use crate::auth::{Keys, Refused};

/// A token's head: by which algorithm it says it is signed, and with which key. Only a hint where
/// to look.
pub(crate) struct Head {
    pub(crate) algorithm: Algorithm,
    pub(crate) key_id: Option<String>,
}

impl Head {
    pub(crate) fn read(token: &str) -> Result<Self, Refused> {
        if token.len() > Keys::TOKEN_BYTES {
            return Err(Refused::TooLong);
        }
        let head = decode_header(token).map_err(|_| Refused::Malformed)?;
        // RFC 7515, 4.1.11: who does not understand what is critical must refuse.
        if head.crit.is_some() {
            return Err(Refused::Critical);
        }
        Ok(Self { algorithm: head.alg, key_id: head.kid })
    }
}
