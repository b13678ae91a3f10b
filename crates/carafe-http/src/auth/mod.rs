//! Who asks, by a token: the keys that tokens are checked with, and what they grant.

mod bounds;
mod credentials;
mod head;
mod jwk_set;
mod key;
mod keys;
mod public_key;
mod refused;
mod remote_set;
mod scope;
mod signer;
mod trusted;
mod verified;

pub use credentials::Credentials;
pub use jsonwebtoken::Algorithm;
pub use key::{BadKey, Dialect, Key};
pub use keys::Keys;
pub use refused::Refused;
pub use signer::Signer;
pub use verified::Verified;
