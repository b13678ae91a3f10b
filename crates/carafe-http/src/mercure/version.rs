//! The version of Mercure that a request uses.

use http::Method;

use crate::auth::verified::Dialect;
use crate::mercure::form_data::FormData;
use crate::mercure::selector::is_match;

/// The version of a request. It accepts only tokens of keys of its own dialect: the laxer rules
/// of one version must not apply to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// 0.x, which deployed clients use.
    Zero,
    /// The draft of 1.0.
    One,
}

impl Version {
    /// The version of a subscription, which follows from the names of its parameters.
    pub(crate) fn of_subscription(method: &Method, parameters: &FormData) -> Self {
        let asks_by_match = parameters.names().any(is_match);
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
            // Browsers accept a cookie with this prefix only over TLS (RFC 6265bis, cookie name
            // prefixes).
            Self::One => "__Secure-mercure_access_token",
        }
    }
}
