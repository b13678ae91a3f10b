//! `carafe token`, and the tokens that `carafe publish` and `carafe subscribe` send.

use std::env;
use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use carafe_http::auth::{Keys, Signer};
use carafe_protocol::TopicMatcher;
use serde::Serialize;

use crate::cli::TokenOptions;
use crate::failure::Failure;
use crate::keys::{read, secret};
use crate::output::Output;

/// The environment variable for a token.
const TOKEN: &str = "CARAFE_TOKEN";

#[derive(Serialize)]
struct Claims<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    aud: &'a [String],
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    publish: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    subscribe: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    reopen: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    revoke: Option<bool>,
}

/// Prints a token with the grants that the options name.
pub(crate) fn token(options: &TokenOptions) -> Result<(), Failure> {
    let TokenOptions { publish, subscribe, stop, reopen, .. } = options;
    let granted = publish.iter().chain(subscribe).chain(stop).chain(reopen);
    if granted.clone().next().is_none() && !options.revoke {
        return Err(Failure::usage(
            "the token would grant nothing: give --publish or --subscribe, for example --subscribe \
             'orders/*'",
        ));
    }
    for text in granted {
        TopicMatcher::parse(text).map_err(|error| Failure::usage(format!("`{text}`: {error}")))?;
    }
    let token = signer(options)?
        .sign(&claims(options)?)
        .ok_or_else(|| Failure::failed("signing with the key failed"))?;
    if token.len() > Keys::TOKEN_BYTES {
        return Err(Failure::usage(format!(
            "the token would have {} bytes, more than the {} that hubs accept: grant patterns \
             instead of many topics",
            token.len(),
            Keys::TOKEN_BYTES
        )));
    }
    Ok(Output::new().line(&token)?)
}

fn claims(options: &TokenOptions) -> Result<Claims<'_>, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(Failure::failed)?;
    Ok(Claims {
        iss: options.issuer.as_deref(),
        sub: options.subject.as_deref(),
        jti: options.token_id.as_deref(),
        aud: &options.audience,
        iat: now.as_secs(),
        exp: now.saturating_add(options.ttl).as_secs(),
        publish: &options.publish,
        subscribe: &options.subscribe,
        stop: &options.stop,
        reopen: &options.reopen,
        revoke: options.revoke.then_some(true),
    })
}

fn signer(options: &TokenOptions) -> Result<Signer, Failure> {
    let mut signer = match &options.private_key {
        Some(file) => {
            let text = read(file).map_err(Failure::usage)?;
            Signer::pem(&text)
                .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?
        }
        None => {
            let secret = secret(options.secret_file.as_deref()).map_err(Failure::usage)?;
            let secret = secret.ok_or_else(|| {
                Failure::usage(
                    "there is no key to sign with: give --secret-file or --private-key, or set \
                     CARAFE_SECRET",
                )
            })?;
            Signer::secret(&secret).map_err(Failure::usage)?
        }
    };
    if let Some(algorithm) = options.algorithm {
        signer = signer.with_algorithm(algorithm).map_err(Failure::usage)?;
    }
    Ok(match &options.key_id {
        Some(id) => signer.with_key_id(id),
        None => signer,
    })
}

/// The token to send: from the file, else from the environment. An empty token is an error: the
/// command that should have made it has failed.
pub(crate) fn to_send(file: Option<&Path>) -> Result<Option<String>, Failure> {
    let (token, place) = match file {
        Some(file) => {
            let text = read(file).map_err(Failure::usage)?;
            (String::from_utf8_lossy(&text).into_owned(), file.display().to_string())
        }
        None => match env::var(TOKEN) {
            Ok(token) => (token, format!("the variable {TOKEN}")),
            Err(_) => return Ok(None),
        },
    };
    match token.trim() {
        "" => Err(Failure::usage(format!("{place} is empty: expected a token"))),
        token => Ok(Some(token.to_owned())),
    }
}

/// The token in a file that had one before.
pub(crate) fn read_again(file: &Path) -> io::Result<String> {
    let token = to_send(Some(file)).map_err(|failure| io::Error::other(failure.to_string()))?;
    Ok(token.unwrap_or_default())
}
