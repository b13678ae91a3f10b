//! Who asks, by a token: the keys that tokens are checked with, and what they grant.
//!
//! ```
//! use carafe_hub::Hub;
//! use carafe_http::auth::{Dialect, Key, Keys, Signer};
//! use carafe_http::{Options, router};
//! use carafe_log::MemoryLog;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let secret = b"a secret of more than thirty-two bytes";
//! let keys = Keys::new([Key::secret(secret)?]);
//! let app = router(Hub::new(MemoryLog::default()), Options { keys: keys.clone(), ..Options::default() });
//!
//! // What a login service does.
//! let claims = serde_json::json!({"exp": 4_000_000_000_u64, "publish": ["orders/*"]});
//! let token = Signer::secret(secret)?.sign(&claims).ok_or("the claims are no JSON")?;
//!
//! // What the router does with each request.
//! let verified = keys.verify(&token, &[Dialect::Carafe]).await?;
//! assert!(!verified.rights()?.publish.is_empty());
//! # drop(app);
//! # Ok(()) }
//! ```

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
pub(crate) use credentials::{bearer, cookie, may_send_cookies};
pub use jsonwebtoken::Algorithm;
pub use key::{BadKey, Dialect, Key};
pub use keys::Keys;
pub use refused::Refused;
pub use signer::Signer;
pub use verified::Verified;
