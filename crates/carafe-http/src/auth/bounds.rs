//! What a key's tokens must say beside being signed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use crate::auth::refused::Refused;
use crate::auth::trusted::Signed;
use crate::auth::verified::Dialect;

/// How far the clock of who makes tokens may be ahead of ours.
const AHEAD: Duration = Duration::from_secs(5);

/// What a key is bound to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bounds {
    pub(crate) issuer: Option<String>,
    pub(crate) audience: Vec<String>,
    pub(crate) dialect: Dialect,
}

impl Bounds {
    /// Checks what was signed, and gives when it ends.
    pub(crate) fn check(
        &self,
        signed: &Signed,
        now: SystemTime,
    ) -> Result<Option<SystemTime>, Refused> {
        let claims = &signed.claims;
        self.check_issuer(claims)?;
        self.check_type(signed.token_type.as_deref())?;
        self.check_audience(claims)?;
        if time(claims, "nbf")?.is_some_and(|begins| begins > now + AHEAD) {
            return Err(Refused::NotYetValid);
        }
        let ends = time(claims, "exp")?;
        if ends.is_none() && self.dialect != Dialect::Mercure0 {
            return Err(Refused::claim("exp", "is missing: give the time when it ends"));
        }
        if ends.is_some_and(|ends| ends <= now) { Err(Refused::Expired) } else { Ok(ends) }
    }

    fn check_issuer(&self, claims: &Map<String, Value>) -> Result<(), Refused> {
        match &self.issuer {
            Some(issuer) if claims.get("iss").and_then(Value::as_str) != Some(issuer) => {
                Err(Refused::Issuer)
            }
            _ => Ok(()),
        }
    }

    /// RFC 8725, 3.11: a token that was made for something else, with the same key, is none for us.
    fn check_type(&self, token_type: Option<&str>) -> Result<(), Refused> {
        // RFC 7515, 4.1.9: a media type, and `application/` may be left out.
        let essence = token_type.map(|text| {
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
            Some(Value::Array(names)) => names.iter().any(is_meant),
            Some(name) => is_meant(name),
            None => false,
        };
        if fits { Ok(()) } else { Err(Refused::Audience) }
    }
}

/// A time in seconds since 1970, RFC 7519, 2. Nothing but a number is one.
fn time(claims: &Map<String, Value>, claim: &'static str) -> Result<Option<SystemTime>, Refused> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    let wrong = || Refused::claim(claim, "is no time: give seconds since 1970 as a number");
    let seconds = value.as_f64().filter(|_| value.is_number()).ok_or_else(wrong)?;
    // What is before 1970 is as good as 1970.
    let since = Duration::try_from_secs_f64(seconds.max(0.0)).map_err(|_| wrong())?;
    UNIX_EPOCH.checked_add(since).map(Some).ok_or_else(wrong)
}
