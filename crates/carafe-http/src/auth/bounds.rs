//! What a key requires of its tokens besides the signature: issuer, audience, type and times.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use crate::auth::refused::Refused;
use crate::auth::trusted::Signed;
use crate::auth::verified::Dialect;

/// How far the clock of a token's issuer may be ahead.
const AHEAD: Duration = Duration::from_secs(5);

/// The requirements of a key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bounds {
    pub(crate) issuer: Option<String>,
    pub(crate) audience: Vec<String>,
    pub(crate) dialect: Dialect,
}

impl Bounds {
    /// Checks the claims of a signed token, and returns its expiry.
    pub(crate) fn check(
        &self,
        signed: &Signed,
        now: SystemTime,
    ) -> Result<Option<SystemTime>, Refused> {
        let claims = &signed.claims;
        // Type and issuer first: keys of several dialects or issuers may be the same, and the
        // caller then tries the next one.
        self.check_type(signed)?;
        self.check_issuer(claims)?;
        self.check_audience(claims)?;
        // Leeway only for tokens from the future: an expired token gets none, because the stream
        // ends at `exp` exactly.
        if time(claims, "nbf")?.is_some_and(|begins| begins > now + AHEAD) {
            return Err(Refused::NotYetValid);
        }
        let ends = time(claims, "exp")?;
        if ends.is_none() && self.dialect != Dialect::Mercure0 {
            return Err(Refused::claim("exp", "is missing: give the time when the token expires"));
        }
        if ends.is_some_and(|ends| ends <= now) { Err(Refused::Expired) } else { Ok(ends) }
    }

    fn check_issuer(&self, claims: &Map<String, Value>) -> Result<(), Refused> {
        match &self.issuer {
            // Compared as text, case and all (RFC 7519, 4.1.1).
            Some(issuer) if claims.get("iss").and_then(Value::as_str) != Some(issuer) => {
                Err(Refused::Issuer)
            }
            _ => Ok(()),
        }
    }

    /// A token of another kind, signed with the same key, must not be accepted (RFC 8725,
    /// 3.11).
    pub(crate) fn check_type(&self, signed: &Signed) -> Result<(), Refused> {
        // A media type whose `application/` may be omitted (RFC 7515, 4.1.9).
        let essence = signed.token_type.as_ref().map(|text| {
            let text = text.to_ascii_lowercase();
            text.strip_prefix("application/").map(Into::into).unwrap_or(text)
        });
        let fits = match (self.dialect, essence.as_deref()) {
            (Dialect::Mercure0, _)
            | (Dialect::Carafe, None | Some("jwt"))
            | (_, Some("at+jwt")) => true,
            (Dialect::Carafe | Dialect::Mercure1, _) => false,
        };
        if fits { Ok(()) } else { Err(Refused::Type) }
    }

    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), Refused> {
        let is_meant = |value: &Value| {
            value.as_str().is_some_and(|name| self.audience.iter().any(|ours| ours == name))
        };
        let fits = match claims.get("aud") {
            _ if self.audience.is_empty() => true,
            // RFC 7519, 4.1.3: a string, or an array of strings.
            Some(Value::Array(names)) => names.iter().any(is_meant),
            Some(name) => is_meant(name),
            None => false,
        };
        if fits { Ok(()) } else { Err(Refused::Audience) }
    }
}

/// A time in seconds since 1970 (RFC 7519, 2), as a number and nothing else.
fn time(claims: &Map<String, Value>, claim: &'static str) -> Result<Option<SystemTime>, Refused> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    let wrong = || Refused::claim(claim, "is not a time: give seconds since 1970 as a number");
    // A fraction is allowed (RFC 7519, 2, NumericDate).
    let seconds = value.as_f64().filter(|_| value.is_number()).ok_or_else(wrong)?;
    // Times before 1970 are past anyway.
    let since = Duration::try_from_secs_f64(seconds.max(0.0)).map_err(|_| wrong())?;
    UNIX_EPOCH.checked_add(since).map(Some).ok_or_else(wrong)
}
