//! Which version of the protocol a request is of.

use http::Method;

use crate::auth::verified::Dialect;
use crate::mercure::form_data::FormData;

/// The version of a request. Its token has to be of a key of that dialect, so that what is lax in
/// one version never is in the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// 0.x, which deployed clients speak.
    Zero,
    /// The draft of 1.0.
    One,
}

impl Version {
    /// Who subscribes tells the version by how topics are asked for.
    pub(crate) fn of_subscription(method: &Method, parameters: &FormData) -> Self {
        let asks_by_match = parameters.names().any(|name| name.starts_with("match"));
        if asks_by_match || method.as_str() == "QUERY" { Self::One } else { Self::Zero }
    }

    /// The version whose tokens are of this dialect.
    pub(crate) fn of_dialect(dialect: Dialect) -> Self {
        if dialect == Dialect::Mercure1 { Self::One } else { Self::Zero }
    }

    pub(crate) fn dialect(self) -> Dialect {
        match self {
            Self::Zero => Dialect::Mercure0,
            Self::One => Dialect::Mercure1,
        }
    }

    /// The cookie that carries a token.
    pub(crate) fn cookie(self) -> &'static str {
        match self {
            Self::Zero => "mercureAuthorization",
            // Browsers keep others from setting it: RFC 6265bis, cookie name prefixes.
            Self::One => "__Secure-mercure_access_token",
        }
    }
}
