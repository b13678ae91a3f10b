//! A snapshot: the newest events of each topic, which a stream delivers before new ones.
//!
//! The log finds their offsets at one moment. Only these are kept; the events are read in blocks,
//! as the subscriber takes them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use carafe_log::{Entry, Latest, LatestQuery, Picked, ReadError, TopicEnd};
use carafe_protocol::{Offset, Position};

use crate::client::Client;
use crate::feeds::core::later;
use crate::gap::Gap;
use crate::inner::HubInner;
use crate::recent_erasures::{ErasureStamp, RecentErasures};
use crate::subscription::replay::{BLOCK_LIMIT, Pending, ReadLog};
use crate::subscription::snapshot_room::Reservation;
use crate::subscription::subscribe::{Subscribe, SubscribeError};

/// The newest events of each topic at one moment.
pub(crate) struct Snapshot {
    /// A position before all of them.
    pub(super) start: Position,
    /// The stream continues after this position.
    pub(super) up_to: Position,
    /// What the stream reports before the snapshot.
    pub(super) gap: Option<Box<Gap>>,
    /// The snapshot has nothing up to here: the reader has read that much of it.
    after: Offset,
    offsets: Vec<Offset>,
    /// How many of the offsets were read.
    passed: usize,
    block: VecDeque<Arc<Entry>>,
    /// Erasures after this are not applied to the block.
    erasures: ErasureStamp,
    /// The last event that was returned.
    returned: Offset,
    reading: Option<Pending<Result<Picked, ReadError>>>,
    failed: Option<ReadError>,
    /// The memory of the offsets.
    _room: Reservation,
}

/// Takes a snapshot: the newest `count` events of each topic after an offset.
pub(crate) async fn take(
    hub: &HubInner,
    request: &Subscribe,
    after: Offset,
    count: usize,
) -> Result<Snapshot, SubscribeError> {
    let start = hub.log.span().start;
    let query = LatestQuery::of(request.matchers.clone())
        .with_access(request.access.clone())
        .with_after(after)
        .with_count(count)
        .with_limit(hub.limits.latest_events);
    let permit = hub.snapshot_permits.acquire(request.client).await;
    let latest = hub.log.latest(query).await?;
    drop(permit);
    let bytes = size_of_val(&*latest.offsets);
    let room = hub.snapshot_room.reserve(request.client, bytes);
    let room = room.ok_or(SubscribeError::TooManySnapshots)?;
    Ok(Snapshot { after, ..Snapshot::new(hub, start, latest, room) })
}

impl Snapshot {
    fn new(hub: &HubInner, start: Position, latest: Latest, room: Reservation) -> Self {
        Self {
            start,
            up_to: latest.up_to,
            gap: None,
            after: 0,
            offsets: latest.offsets,
            passed: 0,
            block: VecDeque::new(),
            erasures: hub.erasures.stamp(),
            returned: 0,
            reading: None,
            failed: None,
            _room: room,
        }
    }

    /// The ends of the topics of a request, in order, which are no more than its matchers. The
    /// stream continues at `tail`, which was there before the log was asked for the ends: after
    /// that, a topic may be reopened.
    pub(super) fn of_ends(
        hub: &HubInner,
        client: Option<Client>,
        ends: &[TopicEnd],
        gap: Option<Gap>,
        tail: Position,
    ) -> Result<Self, SubscribeError> {
        let room = hub.snapshot_room.reserve(client, 0);
        let room = room.ok_or(SubscribeError::TooManySnapshots)?;
        let start = gap.as_ref().map_or_else(|| hub.log.span().start, |gap| gap.resume_after);
        let offsets = ends.iter().map(|end| end.position.offset).collect();
        // The ring may not have the last end yet.
        let up_to = ends.last().map_or(tail, |last| later(last.position, tail));
        let latest = Latest { offsets, up_to };
        Ok(Self { gap: gap.map(Box::new), ..Self::new(hub, start, latest, room) })
    }

    /// The next event; `None` after the last.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        (hub, client): (&Arc<HubInner>, Option<Client>),
        read_log: ReadLog,
    ) -> Poll<Option<Result<Arc<Entry>, ReadError>>> {
        loop {
            ready!(self.poll_log(cx));
            if let Some(error) = self.failed.take() {
                return Poll::Ready(Some(Err(error)));
            }
            self.apply_erasures(&hub.erasures);
            if let Some(entry) = self.block.pop_front() {
                self.returned = entry.offset();
                return Poll::Ready(Some(Ok(entry)));
            }
            let rest = &self.offsets[self.passed..];
            if rest.is_empty() {
                return Poll::Ready(None);
            }
            // Without a waker: the caller has frames to send, and polls again after them.
            if read_log == ReadLog::NotNow {
                return Poll::Pending;
            }
            let block = rest[..rest.len().min(BLOCK_LIMIT.entries)].to_vec();
            // Before the log is asked: it applies the erasures up to here.
            self.erasures = hub.erasures.stamp();
            self.reading = Some(read_at(Arc::clone(hub), client, block));
        }
    }

    /// Applies the erasures that have come since the block was read. After too many, what is left
    /// of it is read again.
    fn apply_erasures(&mut self, recent: &RecentErasures) {
        if !self.block.is_empty() && !recent.apply(&mut self.block, &mut self.erasures) {
            self.block.clear();
            self.passed = self.offsets.partition_point(|offset| *offset <= self.returned);
        }
    }

    /// Adds entries that are to be delivered, too, unless the reader has them already.
    pub(super) fn add(&mut self, offsets: impl Iterator<Item = Offset>) {
        self.offsets.extend(offsets.filter(|offset| *offset > self.after));
        self.offsets.sort_unstable();
    }

    /// Takes the answer of the log, if it was asked.
    pub(super) fn poll_log(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(reading) = &mut self.reading else { return Poll::Ready(()) };
        match ready!(reading.as_mut().poll(cx)) {
            Ok(picked) => {
                // One at least, whatever the log says: the stream must come to its end.
                self.passed = self.offsets.len().min(self.passed + picked.passed.max(1));
                self.block = picked.entries.into();
            }
            Err(error) => self.failed = Some(error),
        }
        self.reading = None;
        Poll::Ready(())
    }
}

/// Reads a block when the client gets a permit.
pub(super) fn read_at(
    hub: Arc<HubInner>,
    client: Option<Client>,
    offsets: Vec<Offset>,
) -> Pending<Result<Picked, ReadError>> {
    Box::pin(async move {
        let _permit = hub.replay_permits.acquire(client).await;
        hub.log.read_at(offsets, BLOCK_LIMIT).await
    })
}
