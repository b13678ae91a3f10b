//! `carafe revoke`: revokes tokens at a hub, lifts revocations, and lists them.

use carafe_client::{Revoke, Revoker, RevokerError};

use crate::cli::RevokeOptions;
use crate::failure::{Failure, START_A_HUB};
use crate::output::Output;
use crate::token;

/// Revokes or lifts what the options name, or lists what is revoked. Prints the hub's response.
pub(crate) async fn revoke(options: RevokeOptions) -> Result<(), Failure> {
    let mut hub = Revoker::new(options.hub.url.as_str());
    if let Some(token) = token::to_send(options.hub.token_file.as_deref())? {
        hub = hub.with_bearer(token);
    }
    let mut output = Output::new();
    let Some(revoke) = options.revoke() else {
        for revoked in hub.list().await? {
            output.json(&revoked)?;
        }
        return Ok(());
    };
    match options.lift {
        true if hub.lift(&revoke).await? => Ok(()),
        true => Err(Failure::failed(
            "there is no such revocation: `carafe revoke --list` shows those that are in force",
        )),
        false => Ok(output.json(&hub.revoke(&revoke).await?)?),
    }
}

impl RevokeOptions {
    /// What the options name; `None` if the revocations are to be listed.
    fn revoke(&self) -> Option<Revoke> {
        let mut revoke = match (&self.what.subject, &self.what.token_id) {
            (Some(subject), _) => Revoke::subject(subject),
            (None, Some(id)) => Revoke::token_id(id),
            (None, None) => return None,
        };
        if let Some(issuer) = &self.issuer {
            revoke = revoke.with_issuer(issuer);
        }
        if let Some(time) = self.lasts {
            revoke = revoke.lasting(time);
        }
        if let Some(time) = self.issued_before {
            revoke = revoke.issued_before(time);
        }
        Some(revoke)
    }
}

impl From<RevokerError> for Failure {
    fn from(error: RevokerError) -> Self {
        match error {
            RevokerError::BadUrl { .. } | RevokerError::UnsendableToken => Self::usage(error),
            RevokerError::Unreachable { .. } => Self::failed(format!("{error}; {START_A_HUB}")),
            _ => Self::failed(error),
        }
    }
}
