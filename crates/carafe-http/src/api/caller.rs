//! Who asks, and what they may do.

use std::time::SystemTime;

use carafe_protocol::Topic;
use http::StatusCode;
use http::request::Parts;

use crate::answer::limit::Limit;
use crate::answer::problem::Problem;
use crate::api::router::App;
use crate::auth::{Dialect, Refused, Verified};
use crate::policy::rights::Rights;

/// Who asks: a stranger, or who holds a token.
pub(crate) struct Caller {
    pub(crate) rights: Rights,
    /// When the rights end, and a stream with them.
    pub(crate) expires: Option<SystemTime>,
    /// Tells holders of tokens from each other; see [`Verified::identity`].
    pub(crate) identity: Option<u64>,
    /// A stranger may come back with a token.
    may_have_token: bool,
}

impl Caller {
    /// Takes the token out of the request. One that is not good is refused, even where strangers
    /// may do the same: its holder has to know.
    pub(crate) async fn of(app: &App, parts: &mut Parts) -> Result<Self, Problem> {
        let options = &app.options;
        // An app around this router may have tokens of its own.
        if options.keys.is_empty() {
            return Ok(Self::anonymous(app));
        }
        let Some(token) = options.credentials.take(parts, &options.origins)? else {
            return Ok(Self::anonymous(app));
        };
        let verified = options.keys.verify(&token, &[Dialect::Carafe]).await;
        verified.and_then(|verified| Self::holder(app, &verified)).map_err(Problem::from)
    }

    fn anonymous(app: &App) -> Self {
        Self {
            rights: app.options.anonymous.clone(),
            expires: None,
            identity: None,
            may_have_token: !app.options.keys.is_empty(),
        }
    }

    /// Whoever holds a token may do what strangers may, too.
    fn holder(app: &App, verified: &Verified) -> Result<Self, Refused> {
        Ok(Self {
            rights: verified.rights()?.or(&app.options.anonymous),
            expires: verified.expires,
            identity: Some(verified.identity),
            may_have_token: false,
        })
    }

    /// Refuses who may publish to nothing at all, which takes no look at what is published.
    pub(crate) fn may_publish(&self) -> Result<(), Problem> {
        if self.rights.publish.is_empty() {
            return Err(self.refused(
                "there is no topic that may be published to: ask for a grant of one".into(),
            ));
        }
        Ok(())
    }

    /// Refuses to publish to what is not granted under all its topics.
    pub(crate) fn may_publish_to<'a>(
        &self,
        topics: impl IntoIterator<Item = &'a Topic>,
    ) -> Result<(), Problem> {
        match topics.into_iter().find(|topic| !self.rights.publish.covers(topic)) {
            None => Ok(()),
            Some(topic) => Err(self.refused(format!(
                "the topic `{topic}` is not among those that may be published to: use others, or ask for a grant of it"
            ))),
        }
    }

    /// Refuses what is not granted.
    pub(crate) fn refused(&self, detail: String) -> Problem {
        if self.may_have_token {
            return Problem::no_token(&detail);
        }
        let kind = "urn:carafe:problem:forbidden";
        let problem = Problem::new(StatusCode::FORBIDDEN, kind, "Not allowed", detail);
        match self.identity {
            Some(_) => {
                problem.with_header("www-authenticate", "Bearer error=\"insufficient_scope\"")
            }
            None => problem,
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let problem = Self::bad_token(refused.to_string());
        if refused == Refused::TooLong { problem.over(Limit::TokenBytes) } else { problem }
    }
}
