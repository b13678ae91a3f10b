//! Connections to the servers.

use std::future::ready;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use futures_util::StreamExt;
use rustls::crypto::CryptoProvider;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::denied::{Denials, Denied};
use super::failing::{Asked, Failing};
use super::url::ClusterUrl;
use crate::EngineError;

/// How long one server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// How often a silent connection is asked whether it lives. Without an answer to two of these, it
/// is lost.
const PING: Duration = Duration::from_secs(1);

/// How long the answer to a message may take after the message itself has come back.
const LATE_ANSWER: Duration = Duration::from_millis(20);

/// How many messages may wait for the reader of a tail. The server sends at most 32 MiB that the
/// reader has not confirmed, so these are more than come unless they are tiny.
const WAITING_MESSAGES: usize = 1 << 18;

/// One connection. It is never used again after it was lost.
///
/// The client would connect again by itself, and then send what had waited in it: perhaps so much
/// later that the server does not recognize a commit that it has stored before. So the first loss
/// ends a session. Its client is dropped, and its attempts to connect again are few.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) client: Client,
    lost: Arc<watch::Sender<bool>>,
    pub(super) denials: Denials,
    failing: Arc<Mutex<Failing>>,
    /// How many messages were sent, and the number of the last one that has an answer.
    sent: Arc<AtomicU64>,
    answered: Arc<watch::Sender<u64>>,
}

impl Session {
    /// Connects to a server.
    async fn connect(url: &ClusterUrl, server: ServerAddr) -> Result<Self, EngineError> {
        let lost = Arc::new(watch::Sender::new(false));
        // A connection that nobody uses any more is closed, and not lost.
        let used = Arc::downgrade(&lost);
        let denials = Denials::default();
        let noticed = denials.clone();
        let options = options(url)?.event_callback(move |event| {
            if let Some(lost) = used.upgrade() {
                notice(&event, &lost, &noticed);
            }
            ready(())
        });
        let client = options.connect(server).await.map_err(|error| connect_error(&error))?;
        tracing::info!(server = client.server_info().server_name, "connected to NATS");
        let (sent, answered) = (Arc::default(), Arc::new(watch::Sender::new(0)));
        let failing = Arc::default();
        Ok(Self { client, lost, denials, failing, sent, answered })
    }

    pub(super) fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }

    /// Completes when the connection was lost.
    pub(super) async fn lost(&self) {
        // The sender is part of `self`.
        let _ = self.lost.subscribe().wait_for(|lost| *lost).await;
    }

    /// A request on this connection has an answer, or none.
    pub(super) fn note(&self, kind: Asked, is_answered: bool) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if failing.note(kind, is_answered, Instant::now()) {
            self.give_up();
        }
    }

    /// Gives the connection up, although it lives.
    pub(super) fn give_up(&self) {
        if !self.lost.send_replace(true) {
            tracing::warn!("the server of NATS is of no use: the next one is tried");
        }
    }

    /// Marks that a message is about to be sent. If there is no answer to an earlier one, first
    /// makes sure that the server takes what is sent. Else copies would wait in the connection to a
    /// frozen server, until it no longer recognizes them.
    ///
    /// Returns the number of the message on this connection.
    pub(super) async fn begin_append(&self) -> Result<u64, EngineError> {
        let (sent, mut answered) = (self.sent.load(Ordering::Relaxed), self.answered.subscribe());
        // The tail may have been faster than an answer that is about to come.
        let all_answered = answered.wait_for(|answered| *answered >= sent);
        if timeout(LATE_ANSWER, all_answered).await.is_err() {
            self.echo().await?;
            self.end_append(sent);
        }
        Ok(self.sent.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The message of this number has an answer: the server has handled it, and those before it.
    pub(super) fn end_append(&self, number: u64) {
        self.answered.send_modify(|answered| *answered = number.max(*answered));
    }

    /// Sends a message to itself: the server handles what one connection sends in order.
    async fn echo(&self) -> Result<(), EngineError> {
        let inbox = self.client.new_inbox();
        let denied = self.denials.of(&inbox);
        let mut echo = self.client.subscribe(inbox.clone()).await.map_err(unavailable)?;
        self.client.publish(inbox, "".into()).await.map_err(unavailable)?;
        tokio::select! {
            echo = echo.next() => {
                echo.map(drop).ok_or_else(|| unavailable("the connection was lost"))
            }
            denied = denied => match denied {
                // It has handled the message all the same. A user does not need the permission.
                Denied::Publish(_) => Ok(()),
                Denied::Subscribe(_) => Err(denied.into()),
            },
        }
    }
}

/// Takes notice of what has happened to a connection.
fn notice(event: &Event, lost: &watch::Sender<bool>, denials: &Denials) {
    match event {
        Event::Disconnected | Event::Closed if !lost.send_replace(true) => {
            tracing::warn!("the connection to NATS was lost");
        }
        _ => tracing::debug!(%event, "NATS"),
    }
    let Event::ServerError(error) = event else { return };
    let Some(denied) = Denied::of(error) else { return };
    // The client subscribes once for all answers. Whoever learns of it takes another connection.
    if let Denied::Subscribe(_) = denied {
        lost.send_replace(true);
    }
    denials.notice(denied);
}

#[expect(clippy::needless_pass_by_value, reason = "the argument of map_err")]
pub(super) fn unavailable(error: impl ToString) -> EngineError {
    EngineError::Unavailable(error.to_string())
}

fn options(url: &ClusterUrl) -> Result<ConnectOptions, EngineError> {
    let mut options = ConnectOptions::new()
        .name("carafe")
        .require_tls(url.tls || url.authorities.is_some() || url.certificate.is_some())
        .connection_timeout(CONNECT)
        .ping_interval(PING)
        .subscription_capacity(WAITING_MESSAGES)
        .ignore_discovered_servers()
        .max_reconnects(1);
    choose_cryptography();
    if let Some(file) = &url.authorities {
        options = options.add_root_certificates(file.clone());
    }
    if let Some((certificate, key)) = &url.certificate {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    url.credentials.iter().try_fold(options, |options, credentials| credentials.apply(options))
}

/// The client takes the default of the process. Where rustls is built with several, nobody may have
/// chosen one.
fn choose_cryptography() {
    if CryptoProvider::get_default().is_none() {
        // Another thread may be faster.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
}

fn connect_error(error: &ConnectError) -> EngineError {
    match error.kind() {
        ConnectErrorKind::Authentication => {
            EngineError::Refused("the credentials have no key that can sign".into())
        }
        ConnectErrorKind::AuthorizationViolation => {
            EngineError::Refused("the server does not accept the credentials".into())
        }
        _ => EngineError::Unavailable(error.to_string()),
    }
}

/// The session of the moment. All requests share it, and the attempt to get another.
pub(super) struct Sessions {
    url: Arc<ClusterUrl>,
    current: Mutex<Attempt>,
    /// The server that is tried first, among those of the URL. Nodes begin at any, and go round.
    next: Arc<AtomicUsize>,
}

/// `None` while it is under way.
type Attempt = watch::Receiver<Option<Result<Session, EngineError>>>;

impl Sessions {
    pub(super) fn new(url: ClusterUrl) -> Self {
        let none = Some(Err(unavailable("there is no connection yet")));
        let current = Mutex::new(watch::channel(none).1);
        let next = Arc::new(AtomicUsize::new(rand::random_range(0..url.servers.len().max(1))));
        Self { url: Arc::new(url), current, next }
    }

    pub(super) async fn get(&self) -> Result<Session, EngineError> {
        let mut attempt = self.attempt();
        let outcome = attempt.wait_for(Option::is_some).await;
        let outcome = outcome.ok().and_then(|outcome| outcome.clone());
        outcome.unwrap_or_else(|| Err(unavailable("connecting was interrupted")))
    }

    /// The next request makes another connection, to the next server.
    pub(super) fn renew(&self) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Ok(session)) = &*current.borrow() {
            session.lost.send_replace(true);
        }
    }

    /// The attempt runs by itself: whoever waits for it may give up.
    fn attempt(&self) -> Attempt {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let is_usable = match &*current.borrow() {
            // Without a sender, its runtime has ended.
            None => current.has_changed().is_ok(),
            Some(Ok(session)) => !session.is_lost(),
            Some(Err(_)) => false,
        };
        if !is_usable {
            let (sender, attempt) = watch::channel(None);
            let (url, next) = (Arc::clone(&self.url), Arc::clone(&self.next));
            tokio::spawn(async move {
                sender.send_replace(Some(connect(&url, &next).await));
            });
            *current = attempt;
        }
        current.clone()
    }
}

/// Connects to the first server that accepts, beginning with the one behind the last.
async fn connect(url: &ClusterUrl, next: &AtomicUsize) -> Result<Session, EngineError> {
    let servers = url.addresses().map_err(|error| EngineError::Refused(error.to_string()))?;
    let mut outcome = Err(unavailable("there is no server"));
    for _ in 0..servers.len() {
        let number = next.fetch_add(1, Ordering::Relaxed) % servers.len();
        outcome = Session::connect(url, servers[number].clone()).await;
        if !matches!(outcome, Err(EngineError::Unavailable(_))) {
            break;
        }
    }
    outcome
}
