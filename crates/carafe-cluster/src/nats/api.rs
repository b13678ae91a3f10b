//! Requests to JetStream, and their answers.

use std::time::Duration;

use async_nats::{HeaderMap, Message, Request, RequestError, RequestErrorKind};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::denied::Denied;
use super::session::Session;
use crate::EngineError;

/// What the server says that it cannot do.
#[derive(Debug, Deserialize)]
pub(super) struct ApiError {
    code: u16,
    /// Says more than `code`.
    #[serde(default)]
    err_code: u16,
    #[serde(default)]
    description: String,
}

#[derive(Deserialize)]
struct Failure {
    error: Option<ApiError>,
}

/// Why there is no answer that was asked for.
#[derive(Debug)]
pub(super) enum ApiFailure {
    /// The server answers with an error.
    Api(ApiError),
    /// The server does not permit the request.
    Denied(Denied),
    Engine(EngineError),
}

/// Codes of the server's file `errors.json`.
mod code {
    pub(super) const ACCOUNT_LIMITS: u16 = 10_002;
    pub(super) const INSUFFICIENT_RESOURCES: u16 = 10_023;
    pub(super) const NO_MESSAGE: u16 = 10_037;
    pub(super) const STORAGE_LIMITS: u16 = 10_047;
    pub(super) const STREAM_EXISTS: u16 = 10_058;
    pub(super) const STREAM_NOT_FOUND: u16 = 10_059;
    pub(super) const STORE_FAILED: u16 = 10_077;
    pub(super) const DUPLICATE_IN_PROCESS: u16 = 10_158;
}

impl ApiError {
    pub(super) fn is_no_message(&self) -> bool {
        self.err_code == code::NO_MESSAGE
    }

    pub(super) fn is_stream_exists(&self) -> bool {
        self.err_code == code::STREAM_EXISTS
    }

    fn is_final(&self) -> bool {
        match self.err_code {
            code::ACCOUNT_LIMITS | code::INSUFFICIENT_RESOURCES | code::STORAGE_LIMITS => true,
            // The first attempt is still on its way to the other replicas.
            code::DUPLICATE_IN_PROCESS => false,
            // "maximum bytes exceeded", and others. Without a maximum, the store is about to close.
            code::STORE_FAILED => self.description.contains("maximum"),
            // Too many requests, and a stream that is about to be moved or restarted, pass.
            _ => (400..500).contains(&self.code) && self.code != 408 && self.code != 429,
        }
    }
}

impl From<ApiError> for EngineError {
    fn from(error: ApiError) -> Self {
        let text = format!("{} (NATS error {})", error.description, error.err_code);
        match error.err_code {
            code::STREAM_NOT_FOUND => Self::Missing,
            _ if error.is_final() => Self::Refused(text),
            _ => Self::Unavailable(text),
        }
    }
}

impl From<ApiFailure> for EngineError {
    fn from(failure: ApiFailure) -> Self {
        match failure {
            ApiFailure::Api(error) => error.into(),
            ApiFailure::Denied(denied) => denied.into(),
            ApiFailure::Engine(error) => error,
        }
    }
}

impl From<RequestError> for ApiFailure {
    fn from(error: RequestError) -> Self {
        Self::Engine(match error.kind() {
            RequestErrorKind::NoResponders => EngineError::Unavailable(
                "no server is in charge of the stream: JetStream starts or is off, or the stream \
                 has no leader"
                    .into(),
            ),
            RequestErrorKind::TimedOut => {
                EngineError::Unavailable("no answer in time: the stream may have no leader".into())
            }
            RequestErrorKind::MaxPayloadExceeded => EngineError::Refused(error.to_string()),
            _ => EngineError::Unavailable(error.to_string()),
        })
    }
}

/// Sends a request, and waits for its answer.
pub(super) async fn request(
    session: &Session,
    subject: String,
    request: Request,
) -> Result<Message, ApiFailure> {
    let denied = session.denials.of(&subject);
    tokio::select! {
        answer = session.client.send_request(subject, request) => Ok(answer?),
        denied = denied => Err(ApiFailure::Denied(denied)),
    }
}

/// Asks a subject of the API.
pub(super) async fn call<T: DeserializeOwned>(
    session: &Session,
    subject: String,
    body: &impl Serialize,
    timeout: Duration,
) -> Result<T, ApiFailure> {
    let body = serde_json::to_vec(body).map_err(unreadable)?;
    let asked = Request::new().payload(body.into()).timeout(Some(timeout));
    answer(&request(session, subject, asked).await?.payload)
}

/// Publishes to the stream, and waits until the message is stored.
pub(super) async fn publish(
    session: &Session,
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
    timeout: Duration,
) -> Result<u64, ApiFailure> {
    #[derive(Deserialize)]
    struct Acknowledgement {
        seq: u64,
    }
    let sent = Request::new().headers(headers).payload(payload).timeout(Some(timeout));
    let message = request(session, subject, sent).await?;
    answer(&message.payload).map(|acknowledgement: Acknowledgement| acknowledgement.seq)
}

fn answer<T: DeserializeOwned>(payload: &[u8]) -> Result<T, ApiFailure> {
    let failure: Failure = serde_json::from_slice(payload).map_err(unreadable)?;
    match failure.error {
        Some(error) => Err(ApiFailure::Api(error)),
        None => serde_json::from_slice(payload).map_err(unreadable),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the argument of map_err")]
fn unreadable(error: serde_json::Error) -> ApiFailure {
    ApiFailure::Engine(EngineError::Unavailable(format!("the server's answer is no JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(json: &str) -> EngineError {
        let answered = answer::<serde_json::Value>(json.as_bytes());
        answered.map_or_else(EngineError::from, |value| panic!("{value}"))
    }

    fn error(code: u16, err_code: u16, description: &str) -> EngineError {
        error_of(&format!(
            r#"{{"error":{{"code":{code},"err_code":{err_code},"description":"{description}"}}}}"#
        ))
    }

    #[test]
    fn an_error_of_the_server_says_whether_to_try_again() {
        assert_eq!(error(404, 10_059, "stream not found"), EngineError::Missing);
        for (code, err_code, description) in [
            (400, 10_054, "message size exceeds maximum allowed"),
            (503, 10_077, "maximum bytes exceeded"),
            (503, 10_023, "insufficient resources"),
            (500, 10_047, "insufficient storage resources available"),
        ] {
            let error = error(code, err_code, description);
            assert!(matches!(&error, EngineError::Refused(_)), "{error}");
            assert!(error.to_string().contains(description), "{error}");
        }
        for (code, err_code, description) in [
            (503, 10_008, "JetStream system temporarily unavailable"),
            (503, 10_077, "store is closed"),
            (409, 10_158, "duplicate message id is in process"),
            (429, 10_167, "too many requests"),
            (500, 10_118, "stream is offline"),
        ] {
            let error = error(code, err_code, description);
            assert!(matches!(&error, EngineError::Unavailable(_)), "{error}");
        }
    }

    #[test]
    fn an_answer_that_is_no_json_is_unavailable() {
        assert!(matches!(error_of("503"), EngineError::Unavailable(_)));
        assert!(matches!(error_of(""), EngineError::Unavailable(_)));
    }
}
