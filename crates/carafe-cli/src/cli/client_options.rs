//! The options of `carafe publish`, `carafe subscribe` and `carafe token`.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use carafe_http::auth::Algorithm;
use carafe_protocol::TopicMatcher;
use clap::Args;

use super::template::Template;
use super::values::{duration, hub_url, positive_duration};

/// The hub that a command talks to.
#[derive(Args, Debug)]
pub(crate) struct RemoteHub {
    /// URL of the hub
    #[arg(
        long,
        env = "CARAFE_URL",
        default_value = "http://127.0.0.1:3000",
        value_parser = hub_url
    )]
    pub(crate) url: String,
    /// File with the token to send; CARAFE_TOKEN may hold the token itself
    #[arg(long, env = "CARAFE_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct PublishOptions {
    /// Topic to publish to
    pub(crate) topic: String,
    /// Data of the event, or @FILE to read it from a file; @@ begins data with an @ [default: each
    /// line of standard input is an event, as with -]
    #[arg(allow_negative_numbers = true)]
    pub(crate) data: Option<String>,
    /// Read standard input as the data of one event
    #[arg(long)]
    pub(crate) whole: bool,
    /// Event type
    #[arg(long, short, value_name = "TYPE")]
    pub(crate) event: Option<String>,
    /// Idempotency key: publishing again with the same key stores nothing
    #[arg(long, value_name = "KEY")]
    pub(crate) id: Option<String>,
    /// Publish as private: only subscribers whose token grants the topic receive the event
    #[arg(long)]
    pub(crate) private: bool,
    /// Print the hub's response for each event as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// How long to try while the hub is away or busy [default: 10s for one event, unlimited for
    /// lines of standard input]
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Fail at once when the hub is away or busy
    #[arg(long)]
    pub(crate) no_retry: bool,
    #[command(flatten)]
    pub(crate) hub: RemoteHub,
}

#[derive(Args, Debug)]
pub(crate) struct SubscribeOptions {
    /// Topics to subscribe to; those with operators are URL Patterns, as in tokens: orders/*,
    /// orders/:id [default: all topics]
    #[arg(value_name = "TOPIC", value_parser = TopicMatcher::parse)]
    pub(crate) topics: Vec<TopicMatcher>,
    /// Topic to subscribe to exactly as it is written. May be repeated
    #[arg(long, short, value_name = "TOPIC")]
    pub(crate) topic: Vec<String>,
    /// URL Pattern of topics to subscribe to, such as orders/*. May be repeated
    #[arg(long, short, value_name = "PATTERN")]
    pub(crate) pattern: Vec<String>,
    /// Exit after this many events
    #[arg(long, short = 'n', value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Print topic, ID, time, type and data of each event as JSON
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,
    /// Print each event in this form, such as '{time} {topic} {data}'; {id} and {type} exist, too
    #[arg(long, value_name = "FORM", value_parser = Template::parse)]
    pub(crate) format: Option<Template>,
    /// Start with the oldest stored event
    #[arg(long, group = "start")]
    pub(crate) earliest: bool,
    /// Start with the last N events; those of each topic if several are given, and no patterns
    #[arg(long, group = "start", value_name = "N")]
    pub(crate) last: Option<u64>,
    /// Start with the newest event of each topic
    #[arg(long, group = "start")]
    pub(crate) latest: bool,
    /// Start with the events of this time, such as 10m or 2h
    #[arg(long, group = "start", value_name = "DURATION", value_parser = duration)]
    pub(crate) since: Option<Duration>,
    /// Start after the event with this ID
    #[arg(long, group = "start", value_name = "ID")]
    pub(crate) after: Option<String>,
    /// Keep the position in this file: the next run with the same file resumes after the last event
    /// that was printed. The other start options apply to the first run
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// Maximum size of an event with its fields
    #[arg(long, default_value = "64MiB", value_name = "SIZE")]
    pub(crate) event_bytes: ByteSize,
    #[command(flatten)]
    pub(crate) hub: RemoteHub,
}

#[derive(Args, Debug)]
#[group(id = "what", required = true)]
pub(crate) struct Revokable {
    /// Subject (sub) whose tokens to revoke, or user of the app that the hub is part of
    #[arg(long, value_name = "NAME")]
    pub(crate) subject: Option<String>,
    /// ID (jti) of the token to revoke
    #[arg(long, value_name = "JTI")]
    pub(crate) token_id: Option<String>,
    /// Print the revocations that are in force
    #[arg(long, conflicts_with_all = ["issuer", "lasts", "issued_before", "lift"])]
    pub(crate) list: bool,
}

#[derive(Args, Debug)]
pub(crate) struct RevokeOptions {
    #[command(flatten)]
    pub(crate) what: Revokable,
    /// Revoke only tokens of this issuer (iss) [default: of all issuers]
    #[arg(long, value_name = "ISSUER")]
    pub(crate) issuer: Option<String>,
    /// How long the tokens are refused [default: --token-life of the hub; without it, until the
    /// revocation is lifted]
    #[arg(
        long = "for",
        value_name = "DURATION",
        value_parser = positive_duration,
        conflicts_with = "lift"
    )]
    pub(crate) lasts: Option<Duration>,
    /// Refuse only tokens of the subject that were issued (iat) before this time, in seconds since
    /// 1970 [default: the second after now]
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["lift", "token_id"])]
    pub(crate) issued_before: Option<u64>,
    /// Lift the revocation: the tokens are accepted again
    #[arg(long)]
    pub(crate) lift: bool,
    #[command(flatten)]
    pub(crate) hub: RemoteHub,
}

#[derive(Args, Debug)]
pub(crate) struct TokenOptions {
    /// Topic or URL Pattern that the token grants publishing to. May be repeated
    #[arg(long, value_name = "TOPIC")]
    pub(crate) publish: Vec<String>,
    /// Topic or URL Pattern that the token grants subscribing to, including private events. May be
    /// repeated
    #[arg(long, value_name = "TOPIC")]
    pub(crate) subscribe: Vec<String>,
    /// Topic or URL Pattern whose producers the token may ask to stop. May be repeated
    #[arg(long, value_name = "TOPIC")]
    pub(crate) stop: Vec<String>,
    /// Topic or URL Pattern that the token may reopen after its end. May be repeated
    #[arg(long, value_name = "TOPIC")]
    pub(crate) reopen: Vec<String>,
    /// Grant revoking tokens of others
    #[arg(long)]
    pub(crate) revoke: bool,
    /// Lifetime of the token
    #[arg(long, default_value = "1h", value_name = "DURATION", value_parser = positive_duration)]
    pub(crate) ttl: Duration,
    /// File with the secret to sign with (HS256); CARAFE_SECRET may hold the secret itself
    #[arg(long, env = "CARAFE_SECRET_FILE", value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    /// PEM file with the private key to sign with
    #[arg(long, env = "CARAFE_PRIVATE_KEY", value_name = "FILE")]
    pub(crate) private_key: Option<PathBuf>,
    /// Signature algorithm, such as HS512 or PS256 [default: the first that the key supports]
    #[arg(long, value_name = "ALGORITHM")]
    pub(crate) algorithm: Option<Algorithm>,
    /// ID of the key (kid) in the JWK Set of the issuer
    #[arg(long, value_name = "ID")]
    pub(crate) key_id: Option<String>,
    /// Issuer (iss) of the token
    #[arg(long, env = "CARAFE_ISSUER", value_name = "ISSUER")]
    pub(crate) issuer: Option<String>,
    /// Audience (aud) of the token. May be repeated
    #[arg(long, env = "CARAFE_AUDIENCE", value_delimiter = ',', value_name = "AUDIENCE")]
    pub(crate) audience: Vec<String>,
    /// Subject (sub) of the token
    #[arg(long, value_name = "NAME")]
    pub(crate) subject: Option<String>,
    /// ID (jti) of the token, by which it can be revoked
    #[arg(long, value_name = "JTI")]
    pub(crate) token_id: Option<String>,
}
