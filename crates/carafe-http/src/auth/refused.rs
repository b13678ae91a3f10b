//! Why a token is rejected.

/// The most bytes that a token may have.
pub(crate) const TOKEN_BYTES: usize = 8 << 10;

/// Why a token is not taken. None of it tells more than who made the token knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// It is longer than [`Keys::TOKEN_BYTES`](crate::auth::Keys::TOKEN_BYTES).
    #[error("the token has more than {max} bytes: grant patterns instead of many topics", max = TOKEN_BYTES)]
    TooLong,
    /// It is no signed JSON Web Token, or is one with an algorithm that is not known, such as
    /// `none`.
    #[error(
        "the token is no JSON Web Token with an algorithm that is taken here: get one from who runs the hub"
    )]
    Malformed,
    /// Its head has `crit`: something that must be understood, and is not.
    #[error("the token's head has `crit`, of which nothing is understood here: leave it out")]
    Critical,
    /// No key has signed it, with an algorithm that the key is for.
    #[error("the token is not signed by a key that this hub trusts: get one from who runs it")]
    Untrusted,
    /// Its `typ` is another one than tokens of this dialect have.
    #[error("the token's `typ` is that of another kind of token: get an access token")]
    Type,
    /// Its `iss` is not the issuer that its key belongs to.
    #[error(
        "the token's `iss` is not the issuer that its key belongs to: get one from that issuer"
    )]
    Issuer,
    /// Its `aud` does not name this hub.
    #[error("the token's `aud` does not name this hub: get one that is meant for it")]
    Audience,
    /// Its time is over.
    #[error("the token has expired: get a new one")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet: check the clocks, or wait")]
    NotYetValid,
    /// A claim is missing, or is not what it has to be.
    #[error("the token's `{claim}` {wrong}")]
    Claim {
        /// The claim's name.
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
