//! Who makes a request, and what they may do.

use carafe_hub::Grant;
use carafe_protocol::Topic;
use http::request::Parts;

#[cfg(feature = "auth")]
use crate::answer::limit::Limit;
use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::api::app::App;
use crate::api::options::Options;
#[cfg(feature = "auth")]
use crate::auth::refused::Refused;
#[cfg(feature = "auth")]
use crate::auth::verified::{Dialect, Verified};
use crate::policy::app_rights::AppRights;
#[cfg(feature = "auth")]
use crate::policy::cookies;
#[cfg(feature = "mercure")]
use crate::policy::reserved_topics::is_of_subscriptions;
use crate::policy::revocations::Revocations;
use crate::policy::revocations::bearer::Bearer;
use crate::policy::rights::Rights;

/// Who makes a request, and what they may do.
pub(crate) struct Caller<'a> {
    pub(crate) rights: Rights,
    /// Distinguishes holders of tokens and users of the app; see [`Verified::identity`].
    pub(crate) identity: Option<u64>,
    /// Whose rights they are, to end streams when these are revoked.
    pub(crate) bearer: Option<Bearer>,
    source: RightsSource,
    options: &'a Options,
}

/// Where the rights of a caller come from.
#[derive(Clone, Copy)]
enum RightsSource {
    /// The request has no token, or none that the hub looks at.
    Anonymous,
    #[cfg(feature = "auth")]
    Token,
    /// A middleware of the app around this router.
    App,
}

impl<'a> Caller<'a> {
    /// The caller: by the rights that the app has decided on, else by the token.
    pub(crate) async fn of(app: &'a App, parts: &mut Parts) -> Result<Self, Problem> {
        let options = &app.options;
        match AppRights::of(parts, &options.origins, &options.revocations).await? {
            Some(AppRights { rights, identity, bearer }) => {
                Ok(Self { rights, identity, bearer, source: RightsSource::App, options })
            }
            None => Self::of_token(app, parts).await,
        }
    }

    /// Takes the token out of the request. A bad token is rejected even if the request needs none:
    /// its holder has to notice.
    #[cfg(feature = "auth")]
    async fn of_token(app: &'a App, parts: &mut Parts) -> Result<Self, Problem> {
        let options = &app.options;
        // Without keys, a token may be meant for the app around this router.
        if options.keys.is_empty() {
            return Ok(Self::anonymous(options));
        }
        let Some(token) = options.credentials.take(parts)? else {
            return Ok(Self::anonymous(options));
        };
        // Only a cookie is sent without the page's doing: a header or parameter is set by a script
        // that knows the token.
        if token.in_cookie {
            cookies::check_origin(parts, &options.origins)?;
        }
        options.revocations.are_known().await?;
        let verified = options.keys.verify(&token.text, &[Dialect::Carafe]).await;
        verified.and_then(|verified| Self::holder(options, &verified)).map_err(Problem::from)
    }

    /// Without the feature `auth`, the router looks at no token.
    #[cfg(not(feature = "auth"))]
    #[expect(clippy::unused_async, reason = "the signature is that of the feature `auth`")]
    async fn of_token(app: &'a App, _: &mut Parts) -> Result<Self, Problem> {
        Ok(Self::anonymous(&app.options))
    }

    fn anonymous(options: &'a Options) -> Self {
        let rights = options.anonymous.clone();
        Self { rights, identity: None, bearer: None, source: RightsSource::Anonymous, options }
    }

    /// The holder of a token has the rights of clients without a token, too.
    #[cfg(feature = "auth")]
    fn holder(options: &'a Options, verified: &Verified) -> Result<Self, Refused> {
        let rights = verified.rights()?.or(&options.anonymous);
        let (identity, bearer) = (Some(verified.identity), options.revocations.admit(verified)?);
        Ok(Self { rights, identity, bearer, source: RightsSource::Token, options })
    }

    /// Whether the rights are those of all clients without a token.
    pub(crate) fn is_anonymous(&self) -> bool {
        matches!(self.source, RightsSource::Anonymous)
    }

    /// Rejects callers that may publish to no topic at all, before anything else is parsed.
    pub(crate) fn may_publish(&self) -> Result<(), Problem> {
        if self.rights.publish.is_empty() {
            return Err(self.refused("no topic may be published to: ask for a grant of one".into()));
        }
        Ok(())
    }

    /// Rejects callers that may neither publish nor ask to stop.
    pub(crate) fn may_publish_or_stop(&self) -> Result<(), Problem> {
        if self.rights.stop.is_empty() { self.may_publish() } else { Ok(()) }
    }

    /// Rejects an event unless all its topics are granted.
    pub(crate) fn may_publish_to<'t>(
        &self,
        topics: impl IntoIterator<Item = &'t Topic>,
    ) -> Result<(), Problem> {
        self.may(|rights| &rights.publish, topics, "may be published to")
    }

    #[cfg(feature = "mercure")]
    fn check_not_of_hub(&self, topic: &Topic) -> Result<(), Problem> {
        if let Some(mercure) = &self.options.mercure
            && is_of_subscriptions(topic, mercure.prefix())
        {
            let detail = format!("only the hub publishes to `{topic}`: use another topic");
            return Err(Problem::of(ProblemKind::Forbidden, detail));
        }
        Ok(())
    }

    /// Rejects what a right over topics does not cover. `action` says what, as in "may be stopped".
    pub(crate) fn may<'t>(
        &self,
        right: impl Fn(&Rights) -> &Grant,
        topics: impl IntoIterator<Item = &'t Topic>,
        action: &str,
    ) -> Result<(), Problem> {
        let granted = right(&self.rights);
        for topic in topics {
            #[cfg(feature = "mercure")]
            self.check_not_of_hub(topic)?;
            if !granted.covers(topic) {
                return Err(self.refused(format!(
                    "the topic `{topic}` is not among those that {action}: use others, or ask for \
                     a grant of it"
                )));
            }
        }
        Ok(())
    }

    /// The rights have ended while a request was served.
    pub(crate) fn expired(&self) -> Problem {
        match self.source {
            #[cfg(feature = "auth")]
            RightsSource::Token => {
                Problem::bad_token("the token has expired: send the rest with a new one")
            }
            RightsSource::Anonymous | RightsSource::App => {
                Problem::of(ProblemKind::Forbidden, "the session has ended: log in again")
            }
        }
    }

    /// Rejects a caller whose rights were revoked while the request was read, which may take long.
    pub(crate) fn check_revoked(&self) -> Result<(), Problem> {
        match self.bearer.as_ref().is_some_and(Bearer::is_revoked) {
            true => Err(self.revoked()),
            false => Ok(()),
        }
    }

    /// The rights were revoked while a request was served.
    pub(crate) fn revoked(&self) -> Problem {
        match self.source {
            #[cfg(feature = "auth")]
            RightsSource::Token => Refused::Revoked.into(),
            RightsSource::Anonymous | RightsSource::App => Revocations::user_is_revoked(),
        }
    }

    /// Rejects callers that may not revoke tokens.
    pub(crate) fn may_revoke(&self) -> Result<(), Problem> {
        match self.rights.revoke {
            true => Ok(()),
            false => Err(self.refused("tokens may not be revoked: ask for this right".into())),
        }
    }

    /// What is not granted: 401 if a token could grant it, else 403.
    pub(crate) fn refused(&self, detail: String) -> Problem {
        let problem = |detail| Problem::of(ProblemKind::Forbidden, detail);
        match self.source {
            // 401 tells a page to log in. With a token that does not grant it, or a hub without
            // keys, it would log in again and again.
            RightsSource::Anonymous if self.options.accepts_tokens() => Problem::no_token(&detail),
            RightsSource::Anonymous | RightsSource::App => problem(detail),
            #[cfg(feature = "auth")]
            RightsSource::Token => problem(detail)
                .with_header("www-authenticate", "Bearer error=\"insufficient_scope\""),
        }
    }
}

#[cfg(feature = "auth")]
impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let problem = Self::bad_token(refused.to_string());
        if refused == Refused::TooLong { problem.over(Limit::TokenBytes) } else { problem }
    }
}
