//! The options of `carafe serve` alone: access, TLS, proxies.

use std::path::PathBuf;
use std::time::Duration;

use carafe_http::{Network, Origin};
use clap::{ArgAction, Args, ValueEnum};

use super::cluster_options::ClusterOptions;
use super::hub_options::HubOptions;
use super::values::{duration, positive_duration};

#[derive(Args, Debug)]
pub(crate) struct ServeOptions {
    /// Check the settings, the keys, the certificate, the log and the engine of a cluster, and exit
    #[arg(long)]
    pub(crate) check: bool,
    /// What clients without a token may do. Required unless keys are configured
    #[arg(long, env = "CARAFE_ANONYMOUS", value_delimiter = ',', value_name = "PERMISSION")]
    pub(crate) anonymous: Vec<Anonymous>,
    /// PEM file with the certificate chain of the server; enables TLS. Reloaded when it changes,
    /// and on SIGHUP
    #[arg(long, env = "CARAFE_TLS_CERT", value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// PEM file with the private key of the certificate
    #[arg(long, env = "CARAFE_TLS_KEY", value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Origins whose pages may send requests to the hub with cookies and tokens (CORS), such as
    /// https://app.example; * allows requests without credentials from every other origin. Repeat
    /// the option or separate values by commas
    #[arg(long, env = "CARAFE_ALLOW_ORIGIN", value_delimiter = ',', value_name = "ORIGIN")]
    pub(crate) allow_origin: Vec<Origin>,
    /// Proxies that are trusted to report client addresses, such as 10.0.0.0/8. Repeat the option
    /// or separate values by commas
    #[arg(long, env = "CARAFE_TRUSTED_PROXIES", value_delimiter = ',', value_name = "CIDR")]
    pub(crate) trusted_proxies: Vec<Network>,
    /// Header in which trusted proxies report the client address
    #[arg(
        long,
        env = "CARAFE_PROXY_HEADER",
        default_value = "x-forwarded-for",
        value_name = "HEADER"
    )]
    pub(crate) proxy_header: ProxyHeaderName,
    /// max-age of Strict-Transport-Security: browsers use only TLS for this host, on all its ports;
    /// 0s omits the header
    #[arg(
        long,
        env = "CARAFE_HSTS",
        default_value = "720h",
        value_name = "DURATION",
        value_parser = duration
    )]
    pub(crate) hsts: Duration,
    #[command(flatten)]
    pub(crate) keys: KeyOptions,
    #[command(flatten)]
    pub(crate) credentials: CredentialOptions,
    #[command(flatten)]
    pub(crate) cluster: ClusterOptions,
    #[command(flatten)]
    pub(crate) hub: HubOptions,
}

/// The keys that verify tokens.
#[derive(Args, Clone, Debug)]
pub(crate) struct KeyOptions {
    /// File with a secret of at least 32 bytes that verifies tokens signed with HS256;
    /// CARAFE_SECRET may hold the secret itself. Reloaded when it changes, and on SIGHUP
    #[arg(long, env = "CARAFE_SECRET_FILE", value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    /// TOML file with secret or public keys: see docs/ACCESS.md. Reloaded when it or a file that it
    /// names changes, and on SIGHUP
    #[arg(long, env = "CARAFE_KEYS", value_name = "FILE")]
    pub(crate) keys: Option<PathBuf>,
    /// Issuer (iss) that tokens of the secret must have
    #[arg(long, env = "CARAFE_ISSUER", value_name = "ISSUER")]
    pub(crate) issuer: Option<String>,
    /// Audience (aud) that tokens of the secret must have. Repeat the option or separate values by
    /// commas to accept several
    #[arg(long, env = "CARAFE_AUDIENCE", value_delimiter = ',', value_name = "AUDIENCE")]
    pub(crate) audience: Vec<String>,
    /// Longest life of a token from iat to exp: tokens that live longer are rejected, and
    /// revocations end after this time [default: unlimited; revocations end when they are lifted]
    #[arg(
        long,
        env = "CARAFE_TOKEN_LIFE",
        value_name = "DURATION",
        value_parser = positive_duration
    )]
    pub(crate) token_life: Option<Duration>,
}

/// Where tokens are read from, besides the header `Authorization`.
#[derive(Args, Debug)]
pub(crate) struct CredentialOptions {
    /// Cookie that may carry a token; with it, only pages of the hub's host and of allowed origins
    /// may publish
    #[arg(long, env = "CARAFE_COOKIE", default_value = "carafe_token", value_name = "NAME")]
    pub(crate) cookie: String,
    /// Accept tokens in the query parameter access_token; proxies and browsers may log URLs
    #[arg(
        long,
        env = "CARAFE_TOKEN_IN_QUERY",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value = "false", default_missing_value = "true", value_name = "BOOL"
    )]
    pub(crate) token_in_query: bool,
}

/// The header in which proxies report a client's address.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyHeaderName {
    /// X-Forwarded-For
    XForwardedFor,
    /// Forwarded, of RFC 7239
    Forwarded,
}

/// What clients without a token may do.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anonymous {
    /// Subscribe to public events
    Subscribe,
    /// Publish events
    Publish,
}
