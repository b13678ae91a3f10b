//! How a node signs in.

use std::fmt;

use async_nats::ConnectOptions;

use crate::EngineError;

/// How a node signs in at NATS. `Debug` shows the kind only.
///
/// ```
/// use carafe_cluster::Credentials;
///
/// let credentials = Credentials::parse("hub:secret\n")?;
/// assert!(matches!(credentials, Credentials::UserPassword { .. }));
/// assert!(!format!("{credentials:?}").contains("secret"));
/// # Ok::<(), carafe_cluster::BadCredentials>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credentials {
    /// A user and a password.
    UserPassword {
        /// The name of the user.
        user: String,
        /// The password of the user.
        password: String,
    },
    /// A token.
    Token(String),
    /// The seed of a user's NKey.
    NKey(String),
    /// The content of a `.creds` file: a JWT, and the seed of an NKey.
    Creds(String),
}

impl Credentials {
    /// Recognizes the content of a `.creds` file by its first marker, the seed of an NKey by its
    /// form, and `USER:PASSWORD` by its colon. Any other text is a token.
    ///
    /// # Errors
    /// When the text is empty, or is not what its form says.
    pub fn parse(text: &str) -> Result<Self, BadCredentials> {
        let text = text.trim();
        if text.contains("-----BEGIN") {
            // The client wants the end of the last line.
            let text = format!("{text}\n");
            let readable =
                ConnectOptions::with_credentials(&text).map_err(|_| BadCredentials::Creds);
            return readable.map(|_| Self::Creds(text));
        }
        if text.is_empty() || text.contains(char::is_whitespace) {
            return Err(BadCredentials::Empty);
        }
        Ok(match text.split_once(':') {
            _ if is_seed(text) => Self::NKey(text.into()),
            Some((user, password)) => {
                Self::UserPassword { user: user.into(), password: password.into() }
            }
            None => Self::Token(text.into()),
        })
    }

    pub(super) fn apply(&self, options: ConnectOptions) -> Result<ConnectOptions, EngineError> {
        Ok(match self.clone() {
            Self::UserPassword { user, password } => options.user_and_password(user, password),
            Self::Token(token) => options.token(token),
            Self::NKey(seed) => options.nkey(seed),
            Self::Creds(text) => options
                .credentials(&text)
                .map_err(|_| EngineError::Refused(BadCredentials::Creds.to_string()))?,
        })
    }
}

/// The seed of a user's key: 32 bytes, a prefix and a checksum, in base 32.
fn is_seed(text: &str) -> bool {
    let is_base32 = |byte: u8| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte);
    text.len() == 58 && text.starts_with("SU") && text.bytes().all(is_base32)
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UserPassword { .. } => "UserPassword",
            Self::Token(_) => "Token",
            Self::NKey(_) => "NKey",
            Self::Creds(_) => "Creds",
        })
    }
}

/// The text has no credentials. The error never repeats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadCredentials {
    /// It is empty, or has spaces within.
    #[error(
        "credentials are USER:PASSWORD, a token, the seed of an NKey, or the content of a .creds \
         file, without spaces"
    )]
    Empty,
    /// It looks like a `.creds` file, and is none.
    #[error(
        "a .creds file has the JWT of a user and the seed of an NKey, each between two markers"
    )]
    Creds,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &str = "SUAIO3FHUX5PNV2LQIIP7TZ3N4L7TX3W53MQGEIVYFIGA635OZCKEYHFLM";

    #[test]
    fn credentials_are_recognized_by_their_form() {
        let parsed = |text: &str| Credentials::parse(text).unwrap();
        assert_eq!(parsed(&format!("{SEED}\n")), Credentials::NKey(SEED.into()));
        assert_eq!(parsed(" t0ken "), Credentials::Token("t0ken".into()));
        let (user, password) = ("hub".into(), "a:b".into());
        assert_eq!(parsed("hub:a:b"), Credentials::UserPassword { user, password });
        let file = format!(
            "-----BEGIN NATS USER JWT-----\neyJ0\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{SEED}\n------END USER NKEY SEED------\n"
        );
        assert!(matches!(parsed(&file), Credentials::Creds(_)));
    }

    #[test]
    fn what_is_no_credentials_is_an_error_that_repeats_nothing() {
        for (text, error) in [
            (" \n", BadCredentials::Empty),
            ("two words", BadCredentials::Empty),
            ("-----BEGIN NATS USER JWT-----\nsecret", BadCredentials::Creds),
        ] {
            assert_eq!(Credentials::parse(text), Err(error));
        }
    }
}
