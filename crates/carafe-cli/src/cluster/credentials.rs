//! The credentials for the engine of a cluster: from a file or a variable, and never printed.

use std::env;
use std::ffi::OsString;

use carafe_cluster::{ClusterUrl, Credentials};

use crate::cli::{EngineAccess, EngineUrl};
use crate::failure::Failure;
use crate::keys;

/// The variable that may hold the credentials. There is no option for it: other users of the
/// machine can read command lines.
const CREDENTIALS: &str = "CARAFE_CLUSTER_CREDENTIALS";

/// The engine with everything that reaching it needs.
pub(super) fn resolve(url: &EngineUrl, access: &EngineAccess) -> Result<ClusterUrl, Failure> {
    let mut engine: ClusterUrl =
        url.secret().parse().map_err(|error| Failure::usage(format!("{url}: {error}")))?;
    if let Some(credentials) = credentials(access).map_err(Failure::usage)? {
        engine = engine.with_credentials(credentials);
    }
    if let Some(file) = &access.cluster_ca {
        engine = engine.with_ca(file.clone());
    }
    if let (Some(certificate), Some(key)) = (&access.cluster_cert, &access.cluster_key) {
        keys::warn_if_shared(key);
        engine = engine.with_client_certificate(certificate.clone(), key.clone());
    }
    Ok(engine)
}

fn credentials(access: &EngineAccess) -> Result<Option<Credentials>, String> {
    let (place, bytes) = match &access.cluster_credentials_file {
        Some(file) => {
            keys::warn_if_shared(file);
            (file.display().to_string(), keys::read(file)?)
        }
        None => match env::var_os(CREDENTIALS).map(OsString::into_encoded_bytes) {
            Some(bytes) => (CREDENTIALS.into(), bytes),
            None => return Ok(None),
        },
    };
    let text = String::from_utf8(bytes).map_err(|_| format!("{place}: credentials are UTF-8"))?;
    Credentials::parse(&text).map(Some).map_err(|error| format!("{place}: {error}"))
}
