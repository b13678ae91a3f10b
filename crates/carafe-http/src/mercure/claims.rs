//! The rights that a token grants in Mercure.

use carafe_hub::Grant;
use carafe_protocol::TopicMatcher;
use serde_json::Value;
use url::Url;

use crate::auth::refused::Refused;
use crate::auth::verified::Verified;
use crate::mercure::payloads::Payloads;
use crate::mercure::selector::{self, ALL, BadSelector, MatchType};
use crate::mercure::version::Version;

/// The type of Mercure's authorization details.
pub(crate) const DETAIL: &str = "https://mercure.rocks/authorization-detail";

/// The most authorization details of a token, and the most topics of each.
const DETAILS: usize = 100;

/// What a token grants, in either version. `None` if the token does not mention it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Claims {
    pub(crate) publish: Option<Grant>,
    pub(crate) subscribe: Option<Grant>,
    /// The payloads that are published with the holder's subscriptions.
    pub(crate) payloads: Payloads,
}

impl Claims {
    /// Reads the claims of the token's version.
    pub(crate) fn of(verified: &Verified, resource: Option<&Url>) -> Result<Self, Refused> {
        match (Version::of_dialect(verified.dialect), resource) {
            (Version::Zero, _) => Self::zero(&verified.claims),
            (Version::One, Some(resource)) => Self::one(&verified.claims, resource),
            (Version::One, None) => Err(Refused::Audience),
        }
    }

    fn zero(claims: &Value) -> Result<Self, Refused> {
        // The second name is the namespaced one of 0.x, for issuers that require URIs.
        let mercure = claims.get("mercure").or_else(|| claims.get("https://mercure.rocks/"));
        let Some(mercure) = mercure else { return Ok(Self::default()) };
        if !mercure.is_object() {
            return Err(bad("mercure", "is not an object: give `publish` and `subscribe` in it"));
        }
        let payload = mercure.get("payload").filter(|payload| !payload.is_null());
        Ok(Self {
            publish: selectors(mercure, "publish")?,
            subscribe: selectors(mercure, "subscribe")?,
            payloads: payload.cloned().map(Payloads::of_all).unwrap_or_default(),
        })
    }

    fn one(claims: &Value, resource: &Url) -> Result<Self, Refused> {
        // Whatever audience the key requires, the token has to name this hub.
        if !is_for(claims, resource) {
            return Err(Refused::Audience);
        }
        let Some(details) = claims.get("authorization_details") else { return Ok(Self::default()) };
        let details = details.as_array().filter(|details| details.len() <= DETAILS);
        let details = details.ok_or_else(|| wrong("is not an array of at most 100 objects"))?;
        let (mut publish, mut subscribe) = (Vec::new(), Vec::new());
        let mut payloads = Payloads::default();
        for detail in details {
            let Some(detail) = Detail::read(detail, resource)? else { continue };
            if detail.publish {
                publish.extend_from_slice(&detail.matchers);
            }
            if detail.subscribe {
                if let Some(payload) = detail.payload {
                    payloads.add(Grant::to(detail.matchers.clone()), payload);
                }
                subscribe.extend(detail.matchers);
            }
        }
        let grant =
            |matchers: Vec<TopicMatcher>| (!matchers.is_empty()).then(|| Grant::to(matchers));
        Ok(Self { publish: grant(publish), subscribe: grant(subscribe), payloads })
    }
}

/// Whether `aud` names this hub (RFC 7519, 4.1.3).
fn is_for(claims: &Value, resource: &Url) -> bool {
    match claims.get("aud") {
        Some(Value::String(name)) => name == resource.as_str(),
        Some(Value::Array(names)) => {
            names.iter().any(|name| name.as_str() == Some(resource.as_str()))
        }
        _ => false,
    }
}

/// An array of selectors. A selector that can match no valid topic is skipped.
fn selectors(mercure: &Value, name: &'static str) -> Result<Option<Grant>, Refused> {
    let Some(value) = mercure.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
    let texts = value
        .as_array()
        .and_then(|values| values.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
    let texts = texts.ok_or_else(|| {
        bad("mercure", &format!("has a `{name}` that is not an array of strings"))
    })?;
    let mut grant = Vec::new();
    for text in texts {
        match selector::zero(text) {
            Ok(matcher) => grant.push(matcher),
            Err(BadSelector::NoTopic(_)) => {}
            Err(error) => return Err(bad("mercure", &format!("has `{text}`: {error}"))),
        }
    }
    Ok(Some(Grant::to(grant)))
}

/// One of Mercure's authorization details (RFC 9396).
struct Detail {
    publish: bool,
    subscribe: bool,
    matchers: Vec<TopicMatcher>,
    payload: Option<Value>,
}

impl Detail {
    /// `None` if it is of another type.
    fn read(detail: &Value, resource: &Url) -> Result<Option<Self>, Refused> {
        let kind = detail.get("type").and_then(Value::as_str);
        if kind.ok_or_else(|| wrong("has an entry without `type`"))? != DETAIL {
            return Ok(None);
        }
        let list =
            |name: &str| detail.get(name).and_then(Value::as_array).filter(|list| !list.is_empty());
        let payload = detail.get("payload").cloned();
        if payload.as_ref().is_some_and(|payload| !payload.is_object()) {
            return Err(wrong("has a `payload` that is not an object"));
        }
        let mut read = Self { publish: false, subscribe: false, matchers: Vec::new(), payload };
        for action in list("actions").ok_or_else(|| wrong("has an entry without `actions`"))? {
            match action.as_str() {
                Some("publish") => read.publish = true,
                Some("subscribe") => read.subscribe = true,
                // Later drafts may have more.
                Some(_) => {}
                None => return Err(wrong("has an action that is not a string")),
            }
        }
        let topics = list("topics").filter(|topics| topics.len() <= DETAILS);
        let topics = topics.ok_or_else(|| wrong("has an entry without 1 to 100 `topics`"))?;
        read.matchers =
            topics.iter().map(|topic| matcher(topic, resource)).collect::<Result<_, _>>()?;
        Ok(Some(read))
    }
}

fn matcher(topic: &Value, resource: &Url) -> Result<TopicMatcher, Refused> {
    let text = topic.get("match").and_then(Value::as_str);
    let text = text.ok_or_else(|| wrong("has a topic without `match`"))?;
    // Before the type: `*` stands for all topics with each of them.
    if text == ALL {
        return Ok(TopicMatcher::any());
    }
    let match_type = match topic.get("match_type").map(Value::as_str) {
        None => Some(MatchType::Exact),
        Some(name) => name.and_then(MatchType::named),
    };
    let match_type = match_type
        .ok_or_else(|| wrong("has another `match_type` than `exact` and `urlpattern`"))?;
    match_type.matcher(text, resource).map_err(|reason| wrong(&format!("has `{text}`: {reason}")))
}

fn wrong(what: &str) -> Refused {
    bad("authorization_details", what)
}

fn bad(claim: &'static str, what: &str) -> Refused {
    Refused::claim(claim, what)
}
