//! Where a stream begins: resolves the start of a request, which may read the log.

use carafe_log::{Find, ReadError, TopicEnd};
use carafe_protocol::{Offset, Position};

use crate::client::Client;
use crate::feeds::core::later;
use crate::gap::{Gap, GapReason};
use crate::inner::HubInner;
use crate::subscription::snapshot::{self, Snapshot};
use crate::subscription::subscribe::{OnGap, Start, Subscribe, SubscribeError};

/// Where a stream begins.
pub(crate) enum Origin {
    /// At the tail, which was here.
    Tail(Position),
    /// After a position in history, at the choice of the hub. Entries before it that are no longer
    /// shown are no gap.
    History(Position),
    /// After a position that the client knows, and that the log has.
    After(Position),
    /// After a gap.
    Gap(Gap),
    /// After a snapshot, before which there may be a gap.
    Snapshot(Box<Snapshot>),
}

impl Origin {
    /// The position after which the stream begins.
    pub(crate) fn position(&self) -> Position {
        match self {
            Self::Tail(position) | Self::History(position) | Self::After(position) => *position,
            Self::Gap(gap) => gap.resume_after,
            Self::Snapshot(snapshot) => snapshot.up_to,
        }
    }
}

impl From<Snapshot> for Origin {
    fn from(snapshot: Snapshot) -> Self {
        Self::Snapshot(Box::new(snapshot))
    }
}

/// Resolves the start of a request. The flag is set if all its topics have ended, and the stream
/// begins after the ends, right before the only one, or with them.
pub(crate) async fn resolve(
    hub: &HubInner,
    request: &Subscribe,
) -> Result<(Origin, bool), SubscribeError> {
    // Read before the log is asked: an end or an event that comes after this is delivered.
    let tail = hub.state().core.tail();
    let origin = match find_start(hub, request, tail).await? {
        Origin::Gap(gap) => Origin::Gap(match request.on_gap {
            OnGap::Nearest => gap,
            OnGap::Live => {
                // What the ring does not have yet may be before the gap.
                let resume_after = later(gap.resume_after, hub.state().core.tail());
                Gap { resume_after, ..gap }
            }
            OnGap::Earliest => Gap { resume_after: hub.log.span().start, ..gap },
        }),
        origin => origin,
    };
    let Some(ends) = hub.ends_of(request) else { return Ok((origin, false)) };
    let position = origin.position();
    let is_over = ends.iter().all(|end| end.position.offset <= position.offset);
    if !is_over {
        return Ok((origin, false));
    }
    Ok((tell_of_ends(hub, request, &ends, origin, tail).await?, true))
}

/// Lets a client that does not say that it has the ends receive them: no end is kept from it. Of
/// several topics, it receives the ends alone, and not the events between them, for which it did
/// not ask.
async fn tell_of_ends(
    hub: &HubInner,
    request: &Subscribe,
    ends: &[TopicEnd],
    origin: Origin,
    tail: Position,
) -> Result<Origin, SubscribeError> {
    let offsets = || ends.iter().map(|end| end.position.offset);
    let before = async || hub.log.before(offsets().next().unwrap_or_default()).await;
    let only_ends = |gap| Snapshot::of_ends(hub, request.client, ends, gap, tail).map(Origin::from);
    Ok(match origin {
        Origin::After(_) => origin,
        // It had received entries behind the end.
        Origin::Gap(Gap { reason: GapReason::Lost, .. }) => origin,
        Origin::Gap(gap) => {
            // A client that is disconnected behind the gap resumes there, and receives the ends.
            let gap = Gap { resume_after: before().await?, ..gap };
            if ends.len() > 1 { only_ends(Some(gap))? } else { Origin::Gap(gap) }
        }
        Origin::Tail(_) | Origin::History(_) if ends.len() > 1 => only_ends(None)?,
        Origin::Tail(_) | Origin::History(_) => Origin::History(before().await?),
        // The ends are among the values, which would be repeated behind an earlier position.
        Origin::Snapshot(mut snapshot) => {
            snapshot.add(offsets());
            Origin::Snapshot(snapshot)
        }
    })
}

async fn before_last(
    hub: &HubInner,
    request: &Subscribe,
    count: usize,
) -> Result<Position, ReadError> {
    let _permit = hub.replay_permits.acquire(request.client).await;
    hub.log.before_last(count, request.matchers.clone(), request.access.clone()).await
}

async fn find_start(
    hub: &HubInner,
    request: &Subscribe,
    tail: Position,
) -> Result<Origin, SubscribeError> {
    match &request.start {
        Start::Tail => Ok(Origin::Tail(tail)),
        // `start` is before the oldest entry, and its position is known even if the log is empty.
        Start::Earliest => Ok(Origin::History(hub.log.span().start)),
        Start::Latest => taken(hub, request, 0, 1).await,
        Start::LatestAfter(position) => {
            let after = offset_here(hub, *position, request.client).await?;
            taken(hub, request, after, 1).await
        }
        Start::Last(count) if request.has_several_topics() => taken(hub, request, 0, *count).await,
        Start::Last(count) => Ok(Origin::History(before_last(hub, request, *count).await?)),
        Start::After(position) => Ok(resume(hub, *position, request.client).await?),
        Start::AfterId(id) => match id.parse() {
            Ok(position) => Ok(resume(hub, position, request.client).await?),
            // `undefined`, `0`, or the ID of another program: nothing is known of what the client
            // has. All history might be far more than it wants.
            Err(_) => Ok(Origin::Gap(gap_to_tail(hub, id.clone()))),
        },
    }
}

async fn taken(
    hub: &HubInner,
    request: &Subscribe,
    after: Offset,
    count: usize,
) -> Result<Origin, SubscribeError> {
    Ok(snapshot::take(hub, request, after, count).await?.into())
}

/// The offset up to which a reader has the snapshot of this log. What it has of another log, or of
/// a part that was lost, says nothing.
async fn offset_here(
    hub: &HubInner,
    position: Position,
    client: Option<Client>,
) -> Result<Offset, ReadError> {
    Ok(match resume(hub, position, client).await? {
        Origin::Gap(Gap { reason: GapReason::Foreign, .. }) => 0,
        Origin::Gap(Gap { reason: GapReason::Trimmed, .. }) => position.offset,
        origin => origin.position().offset,
    })
}

/// Where a stream continues that has received everything up to `position`.
pub(crate) async fn resume(
    hub: &HubInner,
    position: Position,
    client: Option<Client>,
) -> Result<Origin, ReadError> {
    // Clients that reconnect soon, as all do after a restart, do not read the log.
    if position.offset >= hub.log.span().start.offset && hub.state().core.contains(position) {
        return Ok(Origin::After(position));
    }
    let to_oldest = |reason| Origin::Gap(gap_to_oldest(hub, position.to_string(), reason));
    Ok(match hub.find(position, client).await? {
        Find::Found => Origin::After(position),
        Find::Lost { common } => Origin::Gap(gap_lost(hub, position, common)),
        Find::Trimmed => to_oldest(GapReason::Trimmed),
        // It is never ahead: the search has waited for that.
        Find::Foreign | Find::Ahead => to_oldest(GapReason::Foreign),
    })
}

/// The gap of a stream that resumes with the oldest entry.
pub(crate) fn gap_to_oldest(hub: &HubInner, requested: String, reason: GapReason) -> Gap {
    let span = hub.log.span();
    Gap { requested, oldest: span.oldest, reason, resume_after: span.start }
}

/// The gap of a stream that resumes with new events, after an ID that is no position.
fn gap_to_tail(hub: &HubInner, requested: String) -> Gap {
    let tail = hub.state().core.tail();
    Gap { resume_after: tail, ..gap_to_oldest(hub, requested, GapReason::Foreign) }
}

/// The gap of a stream whose client received entries that the log has lost. It resumes after the
/// last entry that is still the same.
pub(crate) fn gap_lost(hub: &HubInner, requested: Position, common: Position) -> Gap {
    let requested = requested.to_string();
    Gap { resume_after: common, ..gap_to_oldest(hub, requested, GapReason::Lost) }
}

/// The gap of a stream that resumes behind damaged entries in the middle of the log.
pub(crate) fn gap_damaged(hub: &HubInner, requested: String, up_to: Position) -> Gap {
    Gap { resume_after: up_to, ..gap_to_oldest(hub, requested, GapReason::Lost) }
}
