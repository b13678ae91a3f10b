//! A hub in an app that clients without a token may use, without sockets. The fuzz targets
//! include this file, so it depends on no other.

use std::cell::LazyCell;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, Request};
use carafe_http::{Mercure, Options, Rights, router};
use carafe_hub::{Access, Delivery, Hub, Start, Subscribe};
use carafe_log::{Entry, Log, MemoryLog};
use futures_util::Stream;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

/// The most bytes of data of an event: few, so that inputs reach the limit.
pub(crate) const EVENT_BYTES: usize = 64;

/// The most bytes of a batch.
pub(crate) const BATCH_BYTES: usize = 4096;

thread_local! {
    static RUNTIME: LazyCell<Runtime> =
        LazyCell::new(|| Builder::new_current_thread().enable_time().build().unwrap());
}

/// Each input has a hub of its own.
pub(crate) struct Place {
    pub(crate) hub: Hub,
    app: Router,
}

/// The part of a response that is there at once.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::on(MemoryLog::default())
    }

    pub(crate) fn on(log: impl Log + 'static) -> Self {
        let hub = Hub::new(log);
        let mut options = Options::default();
        options.anonymous = Rights::all();
        options.mercure = Some(Mercure::default());
        options.event_bytes = EVENT_BYTES;
        options.batch_bytes = BATCH_BYTES;
        Self { app: router(hub.clone(), options), hub }
    }

    pub(crate) fn ask(&self, request: Request<Body>) -> Answer {
        RUNTIME.with(|runtime| {
            runtime.block_on(async {
                let answer = self.app.clone().oneshot(request).await;
                let (parts, body) = answer.unwrap_or_else(|never| match never {}).into_parts();
                Answer { status: parts.status.as_u16(), headers: parts.headers, body: now(body) }
            })
        })
    }

    /// All events that the hub has stored.
    pub(crate) fn stored(&self) -> Vec<Arc<Entry>> {
        let everything =
            Subscribe::to_everything().from(Start::Earliest).with_access(Access::all());
        let subscription = RUNTIME.with(|runtime| runtime.block_on(self.hub.subscribe(everything)));
        let mut subscription = pin!(subscription.expect("everything may be subscribed to"));
        let mut entries = Vec::new();
        while let Poll::Ready(Some(delivery)) = subscription.as_mut().poll_next(&mut noop()) {
            match delivery {
                Delivery::Entry(entry) => entries.push(entry),
                Delivery::Position(_) => {}
                other => panic!("nothing was trimmed: {other:?}"),
            }
        }
        entries
    }
}

/// The part of a body before it waits.
fn now(mut body: Body) -> String {
    let mut bytes = Vec::new();
    while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut noop()) {
        bytes.extend_from_slice(
            frame.ok().and_then(|frame| frame.into_data().ok()).as_deref().unwrap_or(&[]),
        );
    }
    String::from_utf8(bytes).expect("all answers are text")
}

fn noop() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks that it is a rejection, with a problem document that says what is wrong and what
    /// to do.
    #[track_caller]
    pub(crate) fn refuses(&self) -> Value {
        assert!((400..=499).contains(&self.status), "{self:?}");
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        assert!(
            problem["type"].as_str().is_some_and(|name| name.starts_with("urn:carafe:problem:"))
        );
        // Both parts of the sentence.
        let detail = problem["detail"].as_str().and_then(|detail| detail.split_once(": "));
        assert!(
            detail.is_some_and(|(wrong, advice)| !wrong.is_empty() && !advice.is_empty()),
            "{self:?}"
        );
        problem
    }
}

/// The pairs of a query or form, decoded exactly as in the standard (URL, 5.1); `None` if they
/// are not UTF-8.
pub(crate) fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let parts = text.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_at(part.find('=').unwrap_or(part.len()));
            Some((unescaped(name)?, unescaped(value.get(1..).unwrap_or_default())?))
        })
        .collect()
}

/// The pairs of a query with `known` names; `None` if one is misspelt, or not UTF-8.
pub(crate) fn understood(query: &str, known: &[&str]) -> Option<Vec<(String, String)>> {
    let mut understood = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_at(part.find('=').unwrap_or(part.len()));
        let Some(name) = unescaped(name) else { continue };
        let is_known = |known: &&&str| {
            name == **known || (**known == "last_event_id" && letters(&name) == "lasteventid")
        };
        if let Some(known) = known.iter().find(is_known) {
            understood.push((String::from(*known), unescaped(value.get(1..).unwrap_or_default())?));
        } else if letters(&name) == "accesstoken"
            || known.iter().any(|known| is_slip(&letters(&name), &letters(known)))
        {
            return None;
        }
    }
    Some(understood)
}

fn letters(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
}

/// Whether the texts differ by one inserted, omitted, replaced or exchanged letter at most, or by
/// two in a long name; in the shortest, by none.
fn is_slip(text: &str, known: &str) -> bool {
    let slips = if known.len() < 3 { 0 } else { 1 + usize::from(known.len() > 7) };
    distance(text.as_bytes(), known.as_bytes()) <= slips
}

fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, j) in (0..=a.len()).flat_map(|i| (0..=b.len()).map(move |j| (i, j))) {
        rows[i][j] = if i == 0 || j == 0 {
            i + j
        } else {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let least = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            let exchanged = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if exchanged { least.min(rows[i - 2][j - 2] + 1) } else { least }
        };
    }
    rows[a.len()][b.len()]
}

/// The retry time of an event that is published with this one.
pub(crate) fn retry(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds.clamp(500, 300_000))
}

fn unescaped(text: &str) -> Option<String> {
    let mut bytes = text.as_bytes();
    let mut decoded = Vec::new();
    while let [first, rest @ ..] = bytes {
        let escaped = match rest {
            [high, low, ..] if *first == b'%' => digit(*high).zip(digit(*low)),
            _ => None,
        };
        let (byte, length) = match (escaped, first) {
            (Some((high, low)), _) => (16 * high + low, 3),
            (None, b'+') => (b' ', 1),
            (None, other) => (*other, 1),
        };
        decoded.push(byte);
        bytes = &bytes[length..];
    }
    String::from_utf8(decoded).ok()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// All values of a name.
pub(crate) fn all<'a>(pairs: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
}
