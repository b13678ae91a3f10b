//! The options of a node of a cluster, and of `carafe cluster`.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use clap::{Args, Subcommand};

use super::hub_options::KEY_WINDOW;
use super::values::positive_duration;

/// The log that this hub shares with others.
#[derive(Args, Clone, Debug)]
pub(crate) struct ClusterOptions {
    /// Engine that orders and stores the events of all nodes of a cluster, such as
    /// nats://nats-1:4222,nats-2:4222/STREAM?replicas=3; --log is then this node's copy. See
    /// docs/CLUSTER.md
    #[arg(long, env = "CARAFE_CLUSTER", value_name = "URL")]
    pub(crate) cluster: Option<EngineUrl>,
    /// How long the engine may be away until /readyz of this node returns 503
    #[arg(
        long,
        env = "CARAFE_CLUSTER_AWAY",
        default_value = "30s",
        value_name = "DURATION",
        value_parser = positive_duration
    )]
    pub(crate) cluster_away: Duration,
    /// Maximum number of idempotency keys that a node of a cluster remembers of events that have
    /// left its history; each takes about 100 bytes of memory
    #[arg(long, env = "CARAFE_REMEMBERED_KEYS", default_value = "5000000", value_name = "N")]
    pub(crate) remembered_keys: usize,
    #[command(flatten)]
    pub(crate) access: EngineAccess,
}

/// How the engine is reached.
#[derive(Args, Clone, Debug)]
pub(crate) struct EngineAccess {
    /// File with the credentials for the engine: a .creds file of NATS, the seed of an NKey,
    /// USER:PASSWORD, or a token; CARAFE_CLUSTER_CREDENTIALS may hold them instead
    #[arg(long, env = "CARAFE_CLUSTER_CREDENTIALS_FILE", value_name = "FILE")]
    pub(crate) cluster_credentials_file: Option<PathBuf>,
    /// PEM file with the certificates of the authorities that the engine's certificate must be
    /// signed by [default: those of the system]
    #[arg(long, env = "CARAFE_CLUSTER_CA", value_name = "FILE")]
    pub(crate) cluster_ca: Option<PathBuf>,
    /// PEM file with the client certificate that the engine requires
    #[arg(long, env = "CARAFE_CLUSTER_CERT", value_name = "FILE", requires = "cluster_key")]
    pub(crate) cluster_cert: Option<PathBuf>,
    /// PEM file with the private key of the client certificate
    #[arg(long, env = "CARAFE_CLUSTER_KEY", value_name = "FILE", requires = "cluster_cert")]
    pub(crate) cluster_key: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum ClusterCommand {
    /// Check the engine of a cluster, and print what to change; exits with 0 if nodes can use it
    Check(EngineOptions),
    /// Create the stream of a cluster if it does not exist; an existing stream is never changed
    Create(EngineOptions),
}

#[derive(Args, Debug)]
pub(crate) struct EngineOptions {
    /// The engine, as in carafe serve --cluster
    #[arg(env = "CARAFE_CLUSTER", value_name = "URL")]
    pub(crate) url: EngineUrl,
    #[command(flatten)]
    pub(crate) access: EngineAccess,
    /// --event-bytes of the nodes
    #[arg(long, env = "CARAFE_EVENT_BYTES", value_name = "SIZE")]
    pub(crate) event_bytes: Option<ByteSize>,
    /// --history-age of the nodes
    #[arg(
        long,
        env = "CARAFE_HISTORY_AGE",
        value_name = "DURATION",
        value_parser = positive_duration
    )]
    pub(crate) history_age: Option<Duration>,
    /// --history-bytes of the nodes
    #[arg(long, env = "CARAFE_HISTORY_BYTES", value_name = "SIZE")]
    pub(crate) history_bytes: Option<ByteSize>,
    /// --key-window of the nodes
    #[arg(
        long,
        env = "CARAFE_KEY_WINDOW",
        default_value = KEY_WINDOW,
        value_name = "DURATION",
        value_parser = positive_duration
    )]
    pub(crate) key_window: Duration,
}

/// The URL of an engine, which may have a password. It is parsed later: an error of the command
/// line would print it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct EngineUrl(String);

impl EngineUrl {
    /// The text, with its password.
    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

impl FromStr for EngineUrl {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.into()))
    }
}

impl fmt::Display for EngineUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_credentials(&self.0))
    }
}

impl fmt::Debug for EngineUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A URL without its credentials: whatever the text is, nothing before an `@` is left but the
/// scheme.
pub(super) fn without_credentials(url: &str) -> String {
    let Some((before, rest)) = url.rsplit_once('@') else { return url.into() };
    match before.split_once("://") {
        Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_lowercase()) => {
            format!("{scheme}://{rest}")
        }
        _ => rest.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_shown_without_its_credentials() {
        for (url, shown) in [
            ("nats://a:4222,b/S?replicas=3", "nats://a:4222,b/S?replicas=3"),
            ("nats://ann:pass@a:4222,b/S", "nats://a:4222,b/S"),
            ("nats://ann:pass@a,ann:pass@b/S", "nats://b/S"),
            ("nats://a,ann:pa,ss@b/S", "nats://b/S"),
            ("tls://ann:pa/ss@a/S", "tls://a/S"),
            ("nats://ann:p@ss@a/S", "nats://a/S"),
            ("ann:pass@a/S", "a/S"),
            ("Ann:pass://x@a/S", "a/S"),
            ("", ""),
        ] {
            let engine: EngineUrl = url.parse().unwrap();
            assert_eq!(engine.to_string(), shown, "{url}");
            assert_eq!(format!("{engine:?}"), shown);
        }
    }
}
