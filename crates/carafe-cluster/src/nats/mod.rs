//! NATS JetStream: one stream with one subject, which all nodes publish to and follow.

mod api;
mod checks;
mod create;
mod credentials;
mod denied;
mod failing;
mod info;
mod message;
mod permissions;
mod session;
mod tail;
mod url;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use carafe_log::BoxFuture;
use serde::Serialize;
use tokio::time::timeout;

use self::api::{ApiFailure, call, publish};
pub use self::credentials::{BadCredentials, Credentials};
use self::failing::Asked;
use self::info::StreamInfo;
use self::message::{Got, HEADER_BYTES, headers};
use self::session::{Session, Sessions, unavailable};
use self::tail::NatsTail;
pub use self::url::{BadClusterUrl, ClusterUrl};
use crate::{
    ATTEMPT, Created, Engine, EngineError, Finding, Identity, Message, Requirements, Setup, State,
    Stored, Tail,
};

/// Connects to the engine that a URL names.
///
/// # Errors
/// When no server can be reached, or none accepts the credentials. Whether the stream exists is
/// not looked at.
pub async fn open(url: ClusterUrl) -> Result<Arc<dyn Setup>, EngineError> {
    Ok(Arc::new(NatsEngine::connect(url).await?))
}

/// A stream of NATS JetStream as an engine.
struct NatsEngine {
    url: ClusterUrl,
    sessions: Sessions,
    /// As the stream was when it was last asked for.
    known: Mutex<Option<Known>>,
}

#[derive(Clone)]
struct Known {
    subject: String,
    payload: usize,
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct GetMessage {
    seq: u64,
    /// Asks for the first message of this subject from `seq` on.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_by_subj: Option<String>,
}

impl NatsEngine {
    /// Connects to one of the servers. A connection that is lost later is made again with the next
    /// request.
    async fn connect(url: ClusterUrl) -> Result<Self, EngineError> {
        let sessions = Sessions::new(url.clone());
        sessions.get().await?;
        Ok(Self { url, sessions, known: Mutex::new(None) })
    }

    /// The settings and the state of the stream, as its leader knows them.
    async fn info(&self, session: &Session) -> Result<StreamInfo, EngineError> {
        let subject = format!("$JS.API.STREAM.INFO.{}", self.url.stream);
        let info: StreamInfo = call(session, subject, &Empty {}, ATTEMPT).await?;
        let known = known_of(session, &info);
        *self.lock_known() = Some(known);
        Ok(info)
    }

    fn lock_known(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn known(&self, session: &Session) -> Result<Known, EngineError> {
        let known = self.lock_known().clone();
        match known {
            Some(known) => Ok(known),
            None => Ok(known_of(session, &self.info(session).await?)),
        }
    }

    async fn ask_state(&self, session: Session) -> Result<State, EngineError> {
        let info = self.info(&session).await?;
        if !info.is_of_majority() {
            return Err(unavailable("the leader of the stream hears from too few servers"));
        }
        Ok(State {
            identity: Identity::new(&*self.url.stream, info.created),
            first: info.state.first(),
            last: info.state.last_seq,
            now: info.now.ok_or_else(too_old)?,
            payload: known_of(&session, &info).payload,
            age: info.config.max_age,
        })
    }

    async fn store(&self, session: Session, message: Message) -> Result<u64, EngineError> {
        let Known { subject, payload } = self.known(&session).await?;
        if message.payload.len() > payload {
            return Err(EngineError::Refused(format!("a message may have {payload} bytes")));
        }
        let number = session.begin_append().await?;
        let headers = headers(&message, &self.url.stream);
        let stored = publish(&session, subject, headers, message.payload, ATTEMPT).await;
        match &stored {
            Err(ApiFailure::Engine(_)) => {}
            Ok(_) | Err(ApiFailure::Denied(_)) => session.end_append(number),
            Err(ApiFailure::Api(_)) => {
                session.end_append(number);
                // Perhaps the settings of the stream were changed.
                *self.lock_known() = None;
            }
        }
        Ok(stored?)
    }

    async fn read(
        &self,
        session: Session,
        message: GetMessage,
    ) -> Result<Option<Stored>, EngineError> {
        let subject = format!("$JS.API.STREAM.MSG.GET.{}", self.url.stream);
        let got = call(&session, subject, &message, ATTEMPT).await;
        match got {
            Ok(got) => Got::stored(got).map(Some),
            Err(ApiFailure::Api(error)) if error.is_no_message() => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn read_from(&self, session: Session, from: u64) -> Result<Option<Stored>, EngineError> {
        let subject = self.known(&session).await?.subject;
        self.read(session, GetMessage { seq: from, next_by_subj: Some(subject) }).await
    }

    async fn follow(&self, session: Session, from: u64) -> Result<Box<dyn Tail>, EngineError> {
        // A consumer would wait for its first message without a word.
        let last = self.info(&session).await?.state.last_seq;
        if from > last + 1 {
            return Err(unavailable(format!("the stream ends at {last}, before {from}")));
        }
        Ok(Box::new(NatsTail::begin(session, &self.url.stream, from.max(1)).await?))
    }
}

fn too_old() -> EngineError {
    EngineError::Refused("the server does not tell its time: update it to 2.10 or later".into())
}

fn known_of(session: &Session, info: &StreamInfo) -> Known {
    let of_server = session.client.max_payload();
    let of_stream = usize::try_from(info.config.max_msg_size).ok().filter(|size| *size > 0);
    let limit = of_stream.map_or(of_server, |of_stream| of_stream.min(of_server));
    Known {
        subject: info.config.subjects.first().cloned().unwrap_or_default(),
        payload: limit.saturating_sub(HEADER_BYTES),
    }
}

impl NatsEngine {
    /// Makes a request on the connection of the moment. Gives up after [`ATTEMPT`], also while a
    /// connection is made.
    async fn within<T, F>(
        &self,
        kind: Asked,
        request: impl FnOnce(Session) -> F,
    ) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, EngineError>>,
    {
        let mut asked = None;
        let request = async {
            let session = self.sessions.get().await?;
            request(asked.insert(session).clone()).await
        };
        let answer = timeout(ATTEMPT, request).await;
        let answer = answer.unwrap_or_else(|_| Err(unavailable("no server answers in time")));
        if let Some(session) = asked {
            session.note(kind, !matches!(answer, Err(EngineError::Unavailable(_))));
        }
        answer
    }
}

impl Engine for NatsEngine {
    fn renew(&self) {
        self.sessions.renew();
    }

    fn state(&self) -> BoxFuture<'_, Result<State, EngineError>> {
        Box::pin(self.within(Asked::State, |session| self.ask_state(session)))
    }

    fn append(&self, message: Message) -> BoxFuture<'_, Result<u64, EngineError>> {
        Box::pin(self.within(Asked::Append, |session| self.store(session, message)))
    }

    fn get(&self, sequence: u64) -> BoxFuture<'_, Result<Option<Stored>, EngineError>> {
        let message = GetMessage { seq: sequence, next_by_subj: None };
        Box::pin(self.within(Asked::Get, |session| self.read(session, message)))
    }

    fn first_from(&self, from: u64) -> BoxFuture<'_, Result<Option<Stored>, EngineError>> {
        Box::pin(self.within(Asked::Get, move |session| self.read_from(session, from)))
    }

    fn tail(&self, from: u64) -> BoxFuture<'_, Result<Box<dyn Tail>, EngineError>> {
        Box::pin(self.within(Asked::Tail, move |session| self.follow(session, from)))
    }
}

impl Setup for NatsEngine {
    fn create(&self, requirements: Requirements) -> BoxFuture<'_, Result<Created, EngineError>> {
        Box::pin(async move {
            let session = self.sessions.get().await?;
            match self.info(&session).await {
                Ok(_) => Ok(Created::Existed),
                Err(EngineError::Missing) => {
                    create::create(&session, &self.url, requirements).await
                }
                Err(error) => Err(error),
            }
        })
    }

    fn check(
        &self,
        requirements: Requirements,
    ) -> BoxFuture<'_, Result<Vec<Finding>, EngineError>> {
        Box::pin(async move {
            let asked = async |session: Session| Ok((self.info(&session).await?, session));
            let (info, session) = self.within(Asked::State, asked).await?;
            let Known { subject, payload } = known_of(&session, &info);
            let server = checks::Server {
                version: session.client.server_info().version,
                payload,
                denied: permissions::denied(&session, &self.url.stream, subject).await,
            };
            Ok(checks::check(&info, &server, self.url.replicas, requirements))
        })
    }
}
