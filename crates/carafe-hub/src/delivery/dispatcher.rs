//! The dispatcher: decides what each of its subscribers is sent next.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::delivery_state::{DeliveryState, ReplayPhase};
use super::heartbeat::{self, HeartbeatFrames};
use super::roster::Roster;
use super::schedule::Turn;
use super::sink::{Sink, Tick};
use super::{broadcast, catch_up, replay};
use crate::ids::{GroupId, SubscriberId};
use crate::inner::HubInner;
use crate::subscription::frames::Frames;

/// Touched groups that are collected in a small turn.
const FEW_GROUPS: usize = 512;

/// Subscribers that are let end in a small turn: each gets a subscription of its own.
const FEW_TO_END: usize = 32;

/// Decides what each of many subscribers is sent next. Its driver writes the bytes, each frame as a
/// chunk of HTTP/1.1, and reports how many were taken. A dispatcher does no I/O and reads no clock.
///
/// Subscribers that request the same and have everything that came share a group: one cursor, and
/// the bytes from there to the tail, joined once. A broadcast takes them to each member. A member
/// whose client takes less is catching up: it finishes what was begun, and then catches up from the
/// ring. If the ring does not reach back so far, it gets a subscription of its own, which reads the
/// log until it has caught up.
///
/// The driver calls [`collect_wakes`](Self::collect_wakes) after the waker was called, and
/// [`serve_next`](Self::serve_next) as long as there is something to do.
///
/// ```
/// use std::task::Waker;
///
/// use carafe_hub::{Format, Hub, Sink, SubscriberId, Written};
/// use carafe_log::MemoryLog;
///
/// // Clients that take everything.
/// struct Clients(Vec<u8>);
///
/// impl Sink for Clients {
///     fn write(&mut self, _: SubscriberId, bytes: &[u8], _events: u32) -> Written {
///         self.0.extend_from_slice(bytes);
///         Written::Bytes(bytes.len())
///     }
///
///     fn ended(&mut self, _: SubscriberId, _failed: bool) {}
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::new(MemoryLog::default());
/// let mut dispatcher = hub.dispatcher(Waker::noop().clone());
/// dispatcher.add(hub.subscribe("orders").await?.into_frames(Format::Plain));
///
/// let mut clients = Clients(Vec::new());
/// while dispatcher.serve_next(&mut clients) {}
/// assert!(String::from_utf8(clients.0)?.contains("carafe.position"));
/// # Ok(()) }
/// ```
pub struct Dispatcher {
    roster: Roster,
    heartbeats: HeartbeatFrames,
    /// Kept, so that collecting does not allocate.
    touched: Vec<GroupId>,
}

impl Dispatcher {
    pub(crate) fn new(hub: Arc<HubInner>, waker: Waker) -> Self {
        let (roster, heartbeats) = (Roster::new(hub, waker), HeartbeatFrames::new());
        Self { roster, heartbeats, touched: Vec::new() }
    }

    /// How many subscribers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.roster.members.len()
    }

    /// Whether there is no subscriber.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.roster.members.is_empty()
    }

    /// Adds a subscriber.
    pub fn add(&mut self, frames: Frames) -> SubscriberId {
        self.roster.add(frames)
    }

    /// Removes a subscriber, since its client has disconnected.
    pub fn remove(&mut self, subscriber: SubscriberId) {
        self.roster.remove(subscriber);
    }

    /// The subscriber's client takes bytes again.
    pub fn writable(&mut self, subscriber: SubscriberId) {
        if self.blocked_since(subscriber).is_some() {
            self.roster.schedule.push(Turn::Subscriber(subscriber));
        }
    }

    /// The subscriber's time is over. Its stream ends with `carafe.expired`, after what was begun
    /// and after a gap that it has to report.
    pub fn expire(&mut self, subscriber: SubscriberId) {
        self.roster.leave_group(subscriber);
        if let Some(replaying) = self.roster.members.replaying(subscriber)
            && replaying.phase == ReplayPhase::Open
        {
            replaying.phase = ReplayPhase::Expiring;
            self.roster.schedule.push(Turn::Subscriber(subscriber));
        }
    }

    /// Since when the subscriber's client has not taken what it is sent; `None` if it takes it.
    #[must_use]
    pub fn blocked_since(&self, subscriber: SubscriberId) -> Option<Tick> {
        self.roster.members.get(subscriber)?.blocked_since()
    }

    /// Sets the time.
    pub fn set_time(&mut self, now: Tick) {
        self.roster.now = now;
    }

    /// Collects what has come since the last call.
    pub fn collect_wakes(&mut self) {
        self.collect_at_most(usize::MAX, usize::MAX);
    }

    /// The same, but only if it is little: less than about 0.1 ms of work. Else it returns `false`,
    /// and the waker is not called again before [`collect_wakes`](Self::collect_wakes).
    #[must_use]
    pub fn collect_few_wakes(&mut self) -> bool {
        self.collect_at_most(FEW_GROUPS, FEW_TO_END)
    }

    fn collect_at_most(&mut self, groups: usize, to_end: usize) -> bool {
        let Self { roster, touched, .. } = self;
        let mut state = roster.hub.state();
        let inbox = state.wakeups.inbox(roster.dispatcher);
        if !inbox.holds_at_most(groups, to_end) {
            return false;
        }
        let to_end = inbox.collect(touched);
        drop(state);
        touched.drain(..).for_each(|group| roster.touch(group));
        roster.schedule.collect_woken();
        roster.end(to_end);
        true
    }

    /// Sends some subscribers what they lack; `false` if there is nothing to send.
    pub fn serve_next(&mut self, sink: &mut impl Sink) -> bool {
        let roster = &mut self.roster;
        match roster.schedule.pop() {
            None => return false,
            Some(Turn::Group(group)) => broadcast::serve(roster, group, sink),
            Some(Turn::Subscriber(id)) => match roster.members.get(id) {
                Some(DeliveryState::CatchingUp(_)) => catch_up::serve(roster, id, sink),
                Some(DeliveryState::Replaying(_)) => replay::serve(roster, id, sink),
                // The turn of a subscriber that has nothing to be sent, or has gone.
                Some(DeliveryState::InGroup(_)) | None => {}
            },
        }
        true
    }

    /// The silence after which the subscriber wants a heartbeat; `None` for the driver's interval.
    #[must_use]
    pub fn heartbeat_interval(&self, subscriber: SubscriberId) -> Option<Duration> {
        heartbeat::requested(&self.roster, subscriber)?.interval()
    }

    /// Sends a heartbeat to a subscriber that was sent nothing for `silence`: the event that it has
    /// requested, else its position, if that has moved.
    pub fn send_heartbeat(
        &mut self,
        subscriber: SubscriberId,
        silence: Tick,
        sink: &mut impl Sink,
    ) {
        heartbeat::send(&mut self.roster, &mut self.heartbeats, subscriber, silence, sink);
    }
}

#[cfg(test)]
mod tests {
    use carafe_log::MemoryLog;

    use super::*;
    use crate::hub::Hub;
    use crate::paged_table::TableKey;

    fn touch(dispatcher: &Dispatcher, groups: usize) {
        let roster = &dispatcher.roster;
        let mut state = roster.hub.state();
        let inbox = state.wakeups.inbox(roster.dispatcher);
        (0..groups).for_each(|group| drop(inbox.touch(GroupId::from_index(group))));
    }

    #[test]
    fn touched_groups_are_collected_in_a_small_turn_only_if_they_are_few() {
        let hub = Hub::new(MemoryLog::default());
        let mut dispatcher = hub.dispatcher(Waker::noop().clone());
        touch(&dispatcher, FEW_GROUPS);
        assert!(dispatcher.collect_few_wakes());
        touch(&dispatcher, FEW_GROUPS + 1);
        assert!(!dispatcher.collect_few_wakes());
        dispatcher.collect_wakes();
        assert!(dispatcher.collect_few_wakes());
    }
}
