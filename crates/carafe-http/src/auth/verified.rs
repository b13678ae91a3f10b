//! A token that was accepted.

use std::time::SystemTime;

use serde_json::Value;

/// The claims of a token that is signed by a trusted key and valid now.
///
/// ```
/// use carafe_http::auth::{Dialect, Key, Keys, Signer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let secret = b"a secret of more than thirty-two bytes";
/// let keys = Keys::new([Key::secret(secret)?]);
/// let claims = serde_json::json!({"sub": "anna", "exp": 4_000_000_000_u64});
/// let token = Signer::secret(secret)?.sign(&claims).ok_or("the claims are no JSON")?;
///
/// let verified = keys.verify(&token, &[Dialect::Carafe]).await?;
/// assert_eq!(verified.subject(), Some("anna"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Verified {
    /// All claims: always an object.
    pub claims: Value,
    /// The rules by which the claims are read.
    pub dialect: Dialect,
    /// When the token expires; a stream ends then. Only tokens of Mercure 0.x may have no expiry.
    pub expires: Option<SystemTime>,
    /// Distinguishes holders while the process runs, for example for a limit per publisher. It is
    /// the same for all tokens of one key, issuer and subject; a token without a subject has its
    /// own.
    pub identity: u64,
}

impl Verified {
    /// The claim `sub`.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.claims.get("sub").and_then(Value::as_str)
    }
}

/// The rules by which the tokens of a key are read. They follow from the key, never from a token.
///
/// ```
/// use carafe_http::auth::{Dialect, Key, Keys};
///
/// // Tokens that an existing Mercure 0.x hub accepts are accepted here, too.
/// let key = Key::secret(b"a secret of more than thirty-two bytes")?;
/// let keys = Keys::new([key.with_dialect(Dialect::Mercure0)]);
/// assert!(keys.speak(Dialect::Mercure0) && !keys.speak(Dialect::Carafe));
/// # Ok::<(), carafe_http::auth::BadKey>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// Carafe's own: `publish` and `subscribe` are arrays of topics and patterns, and `exp` is
    /// required.
    #[default]
    Carafe,
    /// That of Mercure 0.x.
    Mercure0,
    /// That of Mercure 1.0.
    Mercure1,
}
