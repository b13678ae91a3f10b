//! Why a token is rejected.

/// The most bytes of a token.
pub(crate) const TOKEN_BYTES: usize = 8 << 10;

/// Why a token is rejected. The text reveals nothing that the issuer of the token does not
/// know.
///
/// ```
/// use carafe_http::auth::{Dialect, Key, Keys, Refused, Signer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let secret = b"a secret of more than thirty-two bytes";
/// let keys = Keys::new([Key::secret(secret)?]);
/// let claims = serde_json::json!({"sub": "anna", "exp": 1_000_000_000});
/// let token = Signer::secret(secret)?.sign(&claims).ok_or("the claims are no JSON")?;
///
/// let refused = keys.verify(&token, &[Dialect::Carafe]).await.err();
/// assert_eq!(refused, Some(Refused::Expired));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// It is longer than [`Keys::TOKEN_BYTES`](crate::auth::Keys::TOKEN_BYTES).
    #[error("the token has more than {TOKEN_BYTES} bytes: grant patterns instead of many topics")]
    TooLong,
    /// It is not a signed JSON Web Token with a known algorithm; `none` is not known.
    #[error(
        "the token is not a JSON Web Token with an accepted algorithm: get one from the operator \
         of the hub"
    )]
    Malformed,
    /// Its header has `crit`: extensions that must be understood, none of which is.
    #[error("the token's header has `crit`, and no extension is supported: leave it out")]
    Critical,
    /// No trusted key has signed it with an accepted algorithm.
    #[error("the token is not signed by a key that this hub trusts: get one from its operator")]
    Untrusted,
    /// Its `typ` does not fit the dialect of its key.
    #[error("the token's `typ` is that of another kind of token: get an access token")]
    Type,
    /// Its `iss` is not the issuer of its key.
    #[error(
        "the token's `iss` is not the issuer that its key belongs to: get one from that issuer"
    )]
    Issuer,
    /// Its `aud` does not name this hub.
    #[error("the token's `aud` does not name this hub: get one that is meant for it")]
    Audience,
    /// It has expired.
    #[error("the token has expired: get a new one")]
    Expired,
    /// It was revoked.
    #[error("the token was revoked: get a new one")]
    Revoked,
    /// It is not valid yet.
    #[error("the token is not valid yet: check the clocks, or wait")]
    NotYetValid,
    /// A claim is missing or malformed.
    #[error("the token's `{claim}` {wrong}")]
    Claim {
        /// The name of the claim.
        claim: &'static str,
        /// What is wrong with it, and what to do.
        wrong: String,
    },
}

impl Refused {
    pub(crate) fn claim(claim: &'static str, wrong: impl Into<String>) -> Self {
        Self::Claim { claim, wrong: wrong.into() }
    }
}
