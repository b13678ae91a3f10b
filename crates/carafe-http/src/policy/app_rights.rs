//! Rights that a middleware of the app has decided on.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::time::SystemTime;

use http::request::Parts;

use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::policy::cookies;
use crate::policy::origins::Origins;
use crate::policy::revocations::Revocations;
use crate::policy::revocations::bearer::Bearer;
use crate::policy::rights::Rights;

/// The rights that the app has put into the extensions of a request.
pub(crate) struct AppRights {
    pub(crate) rights: Rights,
    /// Distinguishes the app's users, as [`Verified::identity`](crate::auth::Verified::identity)
    /// distinguishes the holders of tokens.
    pub(crate) identity: Option<u64>,
    /// The user; `None` if the rights have no identity.
    pub(crate) bearer: Option<Bearer>,
}

/// Keyed at random, so that no user can choose a name that collides with another's.
static IDENTITIES: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl AppRights {
    /// The rights in the extensions, if the app has put them there.
    ///
    /// # Errors
    /// When the rights have ended or were revoked, or a page of a foreign origin wants to change
    /// something: the app may have recognised its user by a cookie, which browsers send with
    /// requests of any page.
    pub(crate) async fn of(
        parts: &Parts,
        origins: &Origins,
        revocations: &Revocations,
    ) -> Result<Option<Self>, Problem> {
        let Some(rights) = parts.extensions.get::<Rights>() else { return Ok(None) };
        if rights.expires.is_some_and(|expires| expires <= SystemTime::now()) {
            return Err(Problem::of(ProblemKind::Forbidden, "the session has ended: log in again"));
        }
        cookies::check_page(parts, origins)?;
        let identity = rights.identity.as_ref().map(|identity| IDENTITIES.hash_one(identity));
        let bearer = bearer(rights, revocations).await?;
        Ok(Some(Self { rights: rights.clone(), identity, bearer }))
    }
}

async fn bearer(rights: &Rights, revocations: &Revocations) -> Result<Option<Bearer>, Problem> {
    let Some(identity) = &rights.identity else { return Ok(None) };
    revocations.are_known().await?;
    revocations.admit_user(identity, rights.issued)
}
