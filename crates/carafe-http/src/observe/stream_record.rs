//! The identity of an open stream, from the response to its end, and its place in the limits and
//! the counters.
//!
//! The record moves with the stream: from the endpoint into the response body, and from there to a
//! shard. The code that delivers the stream reports what was sent, and why the stream ended. There
//! may be a million records, so their size is tested.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use carafe_fanout::{EndReason, StreamObserver};
use carafe_hub::Client;
use tracing::{debug, warn};

use crate::answer::limit::Limit;
use crate::observe::log_interval::LogInterval;
use crate::observe::metrics::{Counted, DeliveryPath, Metrics};
use crate::observe::stream_request::StreamRequest;
use crate::policy::address::ClientAddress;
use crate::policy::client::client_at;
use crate::policy::revocations::bearer::Bearer;
#[cfg(feature = "server")]
use crate::policy::subscribers::ConnectionPermit;
use crate::policy::subscribers::Permit;

/// Limits on streams are logged at most once in this time.
static LIMIT_LOG: LogInterval = LogInterval::every(Duration::from_secs(60));

/// When the first stream was opened.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The resolution of start times: 32 bits last for 13 years.
const TICK: Duration = Duration::from_millis(100);

/// An open stream. Dropping it ends the stream for limits and counters, and logs the end.
pub(crate) struct StreamRecord {
    /// Counts the stream for its client address, which it knows.
    permit: Permit,
    /// Knows the delivery path, the number of events and the end reason.
    counted: Counted,
    /// Few streams have any.
    details: Option<Box<Details>>,
    /// Bytes that were handed to the connection, without the response head.
    sent: u64,
    /// Names the stream in log lines; unique among the last 2^32 streams.
    id: u32,
    /// Ticks since `EPOCH`.
    opened: u32,
}

/// What few streams have.
#[derive(Default)]
struct Details {
    /// What the stream asked for, if its log lines are shown.
    request: Option<Box<StreamRequest>>,
    /// Whose rights the stream was opened with, if they can be revoked.
    bearer: Option<Bearer>,
    /// A value that is dropped when the stream ends.
    #[cfg(feature = "mercure")]
    attachment: Option<Box<dyn Send>>,
}

impl StreamRecord {
    /// Opens a stream that is to be delivered by this path.
    pub(crate) fn open(
        metrics: &Metrics,
        permit: Permit,
        request: Option<Box<StreamRequest>>,
        path: DeliveryPath,
    ) -> Self {
        // Relaxed: only uniqueness matters, and nothing is published with the ID.
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let (counted, opened) = (Counted::new(metrics, path), ticks());
        let mut record = Self { permit, counted, details: None, sent: 0, id, opened };
        if request.is_some() {
            record.details().request = request;
        }
        record.log_opened();
        record
    }

    /// Sets whose rights the stream is opened with.
    pub(crate) fn with_bearer(mut self, bearer: Option<Bearer>) -> Self {
        if bearer.is_some() {
            self.details().bearer = bearer;
        }
        self
    }

    /// Whose rights the stream was opened with, if they can be revoked.
    pub(crate) fn bearer(&self) -> Option<&Bearer> {
        self.details.as_ref()?.bearer.as_ref()
    }

    /// Drops this value when the stream ends.
    #[cfg(feature = "mercure")]
    pub(crate) fn with_attachment(mut self, attachment: impl Send + 'static) -> Self {
        self.details().attachment = Some(Box::new(attachment));
        self
    }

    fn details(&mut self) -> &mut Details {
        self.details.get_or_insert_default()
    }

    fn request(&self) -> Option<&StreamRequest> {
        self.details.as_ref()?.request.as_deref()
    }

    /// The stream has a connection for itself, which is counted until the stream ends.
    #[cfg(feature = "server")]
    pub(crate) fn has_connection(&mut self, connection: ConnectionPermit) {
        self.counted.has_connection = connection.hand_over(&self.permit);
    }

    /// The stream is delivered by another path than it was opened for.
    pub(crate) fn moves_to(&mut self, path: DeliveryPath) {
        self.counted.moves_to(path);
    }

    fn log_opened(&self) {
        debug!(
            stream = self.id,
            topics = self.request().map(StreamRequest::topics),
            subject = self.request().map(StreamRequest::subject),
            client = self.permit.client().map(tracing::field::display),
            path = %self.counted.path(),
            "stream opened"
        );
    }

    fn log_ended(&self) {
        debug!(
            stream = self.id,
            topics = self.request().map(StreamRequest::topics),
            subject = self.request().map(StreamRequest::subject),
            client = self.permit.client().map(tracing::field::display),
            path = %self.counted.path(),
            duration = ?(TICK * ticks().wrapping_sub(self.opened)),
            events = self.counted.events(),
            bytes = self.sent,
            reason = self.counted.end().name(),
            "stream ended"
        );
    }
}

fn ticks() -> u32 {
    // Only differences are used, and they wrap with the counter.
    (EPOCH.elapsed().as_millis() / TICK.as_millis()) as u32
}

impl StreamObserver for StreamRecord {
    fn client(&self) -> Option<Client> {
        self.permit.client().map(client_at)
    }

    fn sent(&mut self, bytes: usize, events: u32) {
        self.sent += bytes as u64;
        self.counted.sends(events, bytes);
    }

    fn ended(mut self, reason: EndReason) {
        // What delivers the stream only knows that it was sent to the end.
        let is_revoked = reason == EndReason::Completed && self.is_revoked();
        self.counted.ends(if is_revoked { EndReason::Revoked } else { reason });
    }

    fn is_revoked(&self) -> bool {
        self.bearer().is_some_and(Bearer::is_revoked)
    }
}

impl Drop for StreamRecord {
    fn drop(&mut self) {
        self.log_ended();
        if self.counted.has_connection {
            self.permit.disconnect();
        }
    }
}

/// Logs that a stream was not opened because of a limit, now and then.
pub(crate) fn log_refused(limit: Limit, client: Option<ClientAddress>) {
    if !LIMIT_LOG.is_due() {
        return;
    }
    match (limit, client) {
        (Limit::SubscribersPerAddress, Some(client)) => warn!(
            %client,
            "an address has reached the limit of streams per address; if it is a proxy, name it \
             with --trusted-proxies"
        ),
        _ => warn!("the limit of streams is reached; new clients are told to reconnect later"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream with a token, with its topics for the log, or of Mercure, has these.
    #[test]
    fn what_few_streams_have_takes_no_more_memory_than_now() {
        assert!(size_of::<Details>() <= 64, "{}", size_of::<Details>());
    }

    /// A stream takes 40 bytes for its limits and counters, and 16 for its identity.
    #[test]
    fn an_open_stream_takes_no_more_memory_than_now() {
        assert!(size_of::<StreamRecord>() <= 40 + 16, "{}", size_of::<StreamRecord>());
    }
}
