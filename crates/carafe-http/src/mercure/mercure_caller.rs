//! Who makes a request of Mercure, by a token in one of Mercure's places.

use carafe_hub::{Access, Grant};
use carafe_protocol::Topic;
use http::header::REFERER;
use http::request::Parts;
use url::Url;

use crate::auth::credentials::{bearer, cookie};
use crate::auth::refused::Refused;
use crate::auth::verified::Dialect;
use crate::mercure::claims::Claims;
use crate::mercure::form_data::FormData;
use crate::mercure::payloads::Payloads;
use crate::mercure::refusal::Refusal;
use crate::mercure::state::Adapter;
use crate::mercure::version::Version;
use crate::policy::app_rights::AppRights;
use crate::policy::cookies::may_send_cookies;
use crate::policy::revocations::bearer::Bearer;
use crate::policy::rights::Rights;

/// Who makes a request: a client without a token, the holder of one, or a user of the app.
pub(crate) struct MercureCaller {
    pub(crate) version: Version,
    pub(crate) rights: Rights,
    /// The payloads that are published with its subscriptions.
    pub(crate) payloads: Payloads,
    /// Distinguishes holders of tokens and users of the app.
    pub(crate) identity: Option<u64>,
    /// Whose rights they are, to end streams when these are revoked.
    pub(crate) bearer: Option<Bearer>,
}

/// A token that was found, and the rules by which it may be read.
struct Found {
    token: String,
    dialects: &'static [Dialect],
}

const ZERO: &[Dialect] = &[Dialect::Mercure0];
const ONE: &[Dialect] = &[Dialect::Mercure1];
const BOTH: &[Dialect] = &[Dialect::Mercure1, Dialect::Mercure0];

impl MercureCaller {
    /// The subscriber, in the version of the request.
    pub(crate) async fn subscriber(
        adapter: &Adapter,
        version: Version,
        parameters: &FormData,
        parts: &Parts,
    ) -> Result<Self, Refusal> {
        let dialects = if version == Version::Zero { ZERO } else { ONE };
        let caller = Self::of(adapter, version, dialects, parameters, parts).await?;
        if caller.rights.subscribe == Access::to(Grant::default()) {
            return Err(caller.refused(adapter, "nothing may be subscribed to"));
        }
        Ok(caller)
    }

    /// The publisher. The version is that of the token.
    pub(crate) async fn publisher(
        adapter: &Adapter,
        query: &FormData,
        parts: &Parts,
    ) -> Result<Self, Refusal> {
        let caller = Self::of_any_version(adapter, query, parts).await?;
        if caller.rights.publish.is_empty() {
            return Err(caller.refused(adapter, "nothing may be published"));
        }
        Ok(caller)
    }

    /// The reader of the API of subscriptions. The version is that of the token.
    pub(crate) async fn reader(
        adapter: &Adapter,
        query: &FormData,
        parts: &Parts,
    ) -> Result<Self, Refusal> {
        Self::of_any_version(adapter, query, parts).await
    }

    async fn of_any_version(
        adapter: &Adapter,
        query: &FormData,
        parts: &Parts,
    ) -> Result<Self, Refusal> {
        // Without keys of 0.x, its rules cannot apply: a request without a token is answered as 1.0
        // says.
        let only_one =
            !adapter.app.options.keys.speak(Dialect::Mercure0) && adapter.resource.is_some();
        let version = if only_one { Version::One } else { Version::Zero };
        Self::of(adapter, version, BOTH, query, parts).await
    }

    /// The caller: by the rights that the app has decided on, else by the token.
    async fn of(
        adapter: &Adapter,
        version: Version,
        dialects: &'static [Dialect],
        parameters: &FormData,
        parts: &Parts,
    ) -> Result<Self, Refusal> {
        let options = &adapter.app.options;
        let of_app = AppRights::of(parts, &options.origins, &options.revocations).await?;
        if let Some(AppRights { rights, identity, bearer }) = of_app {
            return Ok(Self { version, rights, payloads: Payloads::default(), identity, bearer });
        }
        let found = find(adapter, dialects, parameters, parts)?;
        // Without keys, a token may be meant for the app around this router.
        match found.filter(|_| !options.keys.is_empty()) {
            Some(found) => Self::holder(adapter, &found).await,
            None => {
                let (rights, payloads) = (options.anonymous.clone(), Payloads::default());
                Ok(Self { version, rights, payloads, identity: None, bearer: None })
            }
        }
    }

    /// The holder of a token has the rights of clients without a token, too. A bad token is
    /// rejected even if the request needs none.
    async fn holder(adapter: &Adapter, found: &Found) -> Result<Self, Refusal> {
        let options = &adapter.app.options;
        options.revocations.are_known().await?;
        let verified = options.keys.verify(&found.token, found.dialects).await;
        let verified = verified.map_err(|refused| Refusal::of_token(adapter, &refused))?;
        let bearer = options.revocations.admit(&verified);
        let bearer = bearer.map_err(|refused| Refusal::of_token(adapter, &refused))?;
        let claims = Claims::of(&verified, adapter.resource.as_deref());
        let claims = claims.map_err(|refused| Refusal::of_token(adapter, &refused))?;
        // Any token lets its holder see public updates.
        let nothing = Access::to(Grant::default());
        let subscribe =
            claims.subscribe.map_or(nothing, |grant| Access::to(grant).with_public(true));
        let rights = Rights {
            subscribe,
            publish: claims.publish.unwrap_or_default(),
            expires: verified.expires,
            identity: verified.subject().map(Into::into),
            ..Rights::none()
        };
        Ok(Self {
            version: Version::of_dialect(verified.dialect),
            rights: rights.or(&options.anonymous),
            payloads: claims.payloads,
            identity: Some(verified.identity),
            bearer,
        })
    }

    /// Rejects an update unless all its topics are granted.
    pub(crate) fn check_publish<'a>(
        &self,
        adapter: &Adapter,
        topics: impl IntoIterator<Item = &'a Topic>,
    ) -> Result<(), Refusal> {
        match topics.into_iter().find(|topic| !self.rights.publish.covers(topic)) {
            None => Ok(()),
            Some(topic) => {
                Err(self.refused(adapter, &format!("the topic `{topic}` may not be published to")))
            }
        }
    }

    /// Rejects a caller whose rights were revoked while the request was read, which may take long.
    pub(crate) fn check_revoked(&self, adapter: &Adapter) -> Result<(), Refusal> {
        match self.bearer.as_ref().is_some_and(Bearer::is_revoked) {
            true => Err(Refusal::of_token(adapter, &Refused::Revoked)),
            false => Ok(()),
        }
    }

    /// Rejects what is not granted.
    pub(crate) fn refused(&self, adapter: &Adapter, detail: &str) -> Refusal {
        if self.identity.is_some() {
            let detail = format!("{detail}: use other topics, or ask for a grant");
            Refusal::not_granted(adapter, self.version, detail)
        } else {
            Refusal::no_token(adapter, &format!("{detail} without a token"))
        }
    }
}

/// The token: from the header, else from the query (0.x only), else from a cookie.
fn find(
    adapter: &Adapter,
    dialects: &'static [Dialect],
    query: &FormData,
    parts: &Parts,
) -> Result<Option<Found>, Refusal> {
    let malformed = |_| match dialects == ONE {
        true => Refusal::bad_request(
            adapter,
            "`Authorization` is not `Bearer` with one token: send it so, and once",
        ),
        false => {
            Refusal::bad_token(adapter, "`Authorization` is not `Bearer` with one token".into())
        }
    };
    if let Some(token) = bearer(&parts.headers).map_err(malformed)? {
        return Ok(Some(Found { token: token.into(), dialects }));
    }
    // Only 0.x takes tokens from the URL.
    if dialects != ONE
        && let Some(token) = query.filled("authorization")
    {
        return Ok(Some(Found { token: token.into(), dialects: ZERO }));
    }
    for (version, of_version) in [(Version::One, ONE), (Version::Zero, ZERO)] {
        if dialects.contains(&version.dialect())
            && let Some(token) = cookie(&parts.headers, version.cookie())?
            && may_use_cookie(adapter, parts)
        {
            return Ok(Some(Found { token: token.into(), dialects: of_version }));
        }
    }
    Ok(None)
}

/// Browsers send a cookie with requests of any page. So publishing with one is restricted to
/// pages of the hub and of listed origins.
fn may_use_cookie(adapter: &Adapter, parts: &Parts) -> bool {
    let origins = &adapter.app.options.origins;
    let referer = || {
        let page = Url::parse(parts.headers.get(REFERER)?.to_str().ok()?).ok()?;
        Some(page.origin().ascii_serialization())
    };
    parts.method != http::Method::POST || may_send_cookies(parts, origins, referer)
}
