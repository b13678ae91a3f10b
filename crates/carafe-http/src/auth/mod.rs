//! Keys and tokens: finding the token of a request, and verifying it.
//!
//! What a token grants is decided in `policy`, by the claims of its dialect.
//!
//! ```
//! use carafe_hub::Hub;
//! use carafe_http::auth::{Dialect, Key, Keys, Signer};
//! use carafe_http::{Options, router};
//! use carafe_log::MemoryLog;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let secret = b"a secret of more than thirty-two bytes";
//! let keys = Keys::new([Key::secret(secret)?]);
//! let mut options = Options::default();
//! options.keys = keys.clone();
//! let app = router(Hub::new(MemoryLog::default()), options);
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

pub(crate) mod bounds;
pub(crate) mod credentials;
pub(crate) mod jwk_set;
pub(crate) mod key;
pub(crate) mod key_rules;
pub(crate) mod keys;
pub(crate) mod public_key;
pub(crate) mod refused;
pub(crate) mod remote_set;
pub(crate) mod signer;
pub(crate) mod trusted;
pub(crate) mod verified;

pub use credentials::Credentials;
pub use jsonwebtoken::Algorithm;
pub use key::Key;
pub use key_rules::BadKey;
pub use keys::Keys;
pub use refused::Refused;
pub use signer::Signer;
pub use verified::{Dialect, Verified};
