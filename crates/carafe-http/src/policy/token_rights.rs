//! The rights that Carafe's own claims grant.

use carafe_hub::{Access, Grant};
use carafe_protocol::TopicMatcher;

use crate::auth::refused::Refused;
use crate::auth::verified::Verified;
use crate::policy::rights::Rights;

/// The most topics and patterns of one claim.
const MATCHERS: usize = 100;

impl Verified {
    /// The rights that the claims `publish`, `subscribe`, `stop`, `reopen`, `erase` and `revoke`
    /// grant to the token's subject until the token expires. A missing claim grants nothing.
    ///
    /// # Errors
    /// When a claim is not an array of at most 100 topics and patterns, or `revoke` is not a
    /// boolean.
    pub fn rights(&self) -> Result<Rights, Refused> {
        Ok(Rights {
            subscribe: Access::to(self.grant("subscribe")?),
            publish: self.grant("publish")?,
            stop: self.grant("stop")?,
            reopen: self.grant("reopen")?,
            erase: self.grant("erase")?,
            revoke: self.flag("revoke")?,
            expires: self.expires,
            identity: self.subject().map(Into::into),
            issued: None,
        })
    }

    fn flag(&self, claim: &'static str) -> Result<bool, Refused> {
        let Some(value) = self.claims.get(claim) else { return Ok(false) };
        value.as_bool().ok_or_else(|| Refused::claim(claim, "is not `true` or `false`"))
    }

    fn grant(&self, claim: &'static str) -> Result<Grant, Refused> {
        let Some(value) = self.claims.get(claim) else { return Ok(Grant::default()) };
        let wrong = || {
            Refused::claim(
                claim,
                "is not an array of strings: give topics and patterns such as [\"orders/*\"]",
            )
        };
        let texts = value.as_array().ok_or_else(wrong)?;
        if texts.len() > MATCHERS {
            let words =
                format!("has more than {MATCHERS} topics and patterns: use a pattern for several");
            return Err(Refused::claim(claim, words));
        }
        let matchers = texts.iter().map(|text| matcher(claim, text.as_str().ok_or_else(wrong)?));
        Ok(Grant::to(matchers.collect::<Result<Vec<_>, _>>()?))
    }
}

fn matcher(claim: &'static str, text: &str) -> Result<TopicMatcher, Refused> {
    TopicMatcher::parse(text)
        .map_err(|error| Refused::claim(claim, format!("has `{text}`: {error}")))
}
