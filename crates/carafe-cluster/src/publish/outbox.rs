//! Groups what waits into commits, and keeps who waits for an answer. No I/O; the time comes from
//! the caller.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use carafe_log::{AppendError, Appended, Commit, Publication};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::message::{Message, MessageId};

/// What a publisher is answered.
pub(crate) type Answer = Result<Vec<Appended>, AppendError>;

/// An answer on its way to its publisher.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) answer: Answer,
    /// Counts the replies that were not taken yet.
    _counted: Arc<()>,
}

/// The batches of a node that are not answered yet: those that wait for the next commit, and those
/// that were sent and that the tail has not delivered yet.
///
/// One commit is in flight at a time: the next one is made when [`Outbox::land`] was called. So
/// batches are stored in the order in which they came.
#[derive(Debug)]
pub(crate) struct Outbox {
    waiting: VecDeque<Waiting>,
    sent: HashMap<MessageId, Sent>,
    in_flight: Option<MessageId>,
    /// What was sent, in the order of deadlines. Some may be delivered since.
    order: VecDeque<MessageId>,
    /// The weight of all batches in here, and how much it may be.
    bytes: usize,
    most_bytes: usize,
    /// The maximum size of a commit.
    payload: usize,
    /// What further batches are refused with.
    closed: Option<AppendError>,
    /// Each reply that was not taken yet has a clone.
    replies: Arc<()>,
}

#[derive(Debug)]
struct Waiting {
    batch: Vec<Publication>,
    /// Its bytes in memory.
    weight: usize,
    /// Its bytes in a commit.
    size: usize,
    reply: oneshot::Sender<Reply>,
    deadline: Instant,
}

/// A commit that the tail has not delivered yet.
#[derive(Debug)]
struct Sent {
    replies: Vec<oneshot::Sender<Reply>>,
    weight: usize,
    /// When all its publishers have been answered.
    deadline: Instant,
    /// Dropped when the tail delivers the commit, which tells who is sending it.
    _delivered: oneshot::Sender<()>,
}

/// A commit to send.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) message: Message,
    /// Completes with an error when the tail has delivered the commit, or nobody wants it sent.
    pub(crate) delivered: oneshot::Receiver<()>,
}

impl Outbox {
    pub(crate) fn new(most_bytes: usize, payload: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            sent: HashMap::new(),
            in_flight: None,
            order: VecDeque::new(),
            bytes: 0,
            most_bytes,
            payload,
            closed: None,
            replies: Arc::default(),
        }
    }

    /// The engine's maximum size of a commit, which may have changed.
    pub(crate) fn set_payload(&mut self, payload: usize) {
        self.payload = payload;
    }

    /// Lets a batch wait for a commit. At the deadline, its publisher waits no longer.
    ///
    /// # Errors
    /// When the batch does not fit into a commit, too much waits, or the outbox is closed.
    pub(crate) fn push(
        &mut self,
        batch: Vec<Publication>,
        now: Instant,
        deadline: Instant,
    ) -> Result<oneshot::Receiver<Reply>, AppendError> {
        if let Some(error) = &self.closed {
            return Err(error.clone());
        }
        self.expire(now);
        let size = Commit::size_of(&batch);
        let (bytes, limit) = (Commit::HEADER + size, self.payload);
        if bytes > limit || batch.len() > Commit::MAX_PUBLICATIONS {
            return Err(AppendError::TooLarge { bytes, limit });
        }
        let weight = batch.iter().map(Publication::weight).sum();
        // A batch larger than the limit is accepted when nothing else waits: it could never be
        // stored otherwise.
        if self.bytes > 0 && self.bytes + weight > self.most_bytes {
            return Err(AppendError::Busy);
        }
        self.bytes += weight;
        let (reply, answer) = oneshot::channel();
        self.waiting.push_back(Waiting { batch, weight, size, reply, deadline });
        Ok(answer)
    }

    /// The next commit, of as much of what waits as fits into it, which is sent at this time of the
    /// engine. `None` if nothing waits.
    pub(crate) fn next(&mut self, now: Instant, sent: SystemTime) -> Option<Outgoing> {
        debug_assert!(self.in_flight.is_none(), "one commit at a time");
        self.expire(now);
        let deadline = self.waiting.front()?.deadline;
        let (delivered, receiver) = oneshot::channel();
        let mut waits = Sent { replies: Vec::new(), weight: 0, deadline, _delivered: delivered };
        let batches = self.fill(&mut waits);
        let commit = Commit { seed: rand::random(), batches };
        let message = Message::new(Commit::FORMAT, sent, commit.encode());
        self.in_flight = Some(message.id);
        self.order.push_back(message.id);
        self.sent.insert(message.id, waits);
        Some(Outgoing { message, delivered: receiver })
    }

    /// Moves batches from the queue into a commit while they fit.
    fn fill(&mut self, sent: &mut Sent) -> Vec<Vec<Publication>> {
        let (mut batches, mut size, mut count) = (Vec::new(), Commit::HEADER, 0);
        while let Some(next) = self.waiting.front() {
            size += next.size;
            count += next.batch.len();
            // The first one always fits, unless the engine's limit has become smaller.
            let is_full = size > self.payload || count > Commit::MAX_PUBLICATIONS;
            if is_full && !batches.is_empty() {
                break;
            }
            let Some(next) = self.waiting.pop_front() else { break };
            batches.push(next.batch);
            sent.replies.push(next.reply);
            sent.weight += next.weight;
            sent.deadline = next.deadline;
        }
        batches
    }

    /// The engine has acknowledged the commit that is in flight, or it is given up: the next one
    /// may be sent.
    pub(crate) fn land(&mut self, id: MessageId) {
        self.in_flight.take_if(|in_flight| *in_flight == id);
    }

    /// Gives a commit up that is not stored, or of which nobody knows whether it is. Its publishers
    /// are answered.
    pub(crate) fn give_up(&mut self, id: MessageId, error: &AppendError) {
        self.land(id);
        let Some(sent) = self.remove(id) else { return };
        for reply in sent.replies {
            self.reply(reply, Err(error.clone()));
        }
    }

    /// The tail has delivered a commit, and the log has decided. Returns the number of its
    /// batches, if it is one of this node.
    pub(crate) fn deliver(&mut self, id: MessageId, answers: Vec<Answer>) -> Option<usize> {
        self.land(id);
        let sent = self.remove(id)?;
        let batches = sent.replies.len();
        for (reply, answer) in sent.replies.into_iter().zip(answers) {
            self.reply(reply, answer);
        }
        Some(batches)
    }

    fn reply(&self, to: oneshot::Sender<Reply>, answer: Answer) {
        // The publisher may have left.
        let _ = to.send(Reply { answer, _counted: Arc::clone(&self.replies) });
    }

    /// The number of batches that wait for the next commit.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether a publisher has not taken its answer yet. It may publish again soon.
    pub(crate) fn has_untaken_replies(&self) -> bool {
        Arc::strong_count(&self.replies) > 1
    }

    /// Forgets what nobody waits for any more, except the commit that is in flight.
    pub(crate) fn expire(&mut self, now: Instant) {
        // Deadlines are in the order of the queue.
        while let Some(next) = self.waiting.pop_front_if(|next| next.deadline <= now) {
            self.bytes -= next.weight;
        }
        while let Some(id) = self.order.front().copied() {
            let is_over = self.sent.get(&id).is_none_or(|sent| sent.deadline <= now);
            // The commit that is in flight is the last one.
            if !is_over || self.in_flight == Some(id) {
                break;
            }
            self.order.pop_front();
            self.remove(id);
        }
    }

    /// Refuses further batches with an error. Those in here go on.
    pub(crate) fn close(&mut self, error: AppendError) {
        self.closed.get_or_insert(error);
    }

    /// Refuses everything: nothing is sent any more.
    pub(crate) fn stop(&mut self, error: AppendError) {
        self.closed = Some(error);
        self.waiting.clear();
        self.sent.clear();
        self.order.clear();
        self.in_flight = None;
        self.bytes = 0;
    }

    /// Whether a publisher may still wait for an answer.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_empty()
    }

    fn remove(&mut self, id: MessageId) -> Option<Sent> {
        let sent = self.sent.remove(&id)?;
        self.bytes -= sent.weight;
        Some(sent)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use carafe_protocol::Topic;
    use carafe_testing::process::seed;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    const PAYLOAD: usize = 1000;
    const ROOM: usize = 10_000;
    const PATIENCE: Duration = Duration::from_secs(2);

    fn batch(number: usize, bytes: usize) -> Vec<Publication> {
        let data = format!("{number:06}{}", "x".repeat(bytes));
        vec![Publication::new(Topic::new("a").unwrap(), data)]
    }

    fn numbers(message: &Message) -> Vec<usize> {
        let commit = Commit::decode(&message.payload).unwrap();
        let data = commit.batches.iter().flatten().map(Publication::data);
        data.map(|data| data[..6].parse().unwrap()).collect()
    }

    /// An outbox, and what is known of each batch that was pushed.
    struct Model {
        outbox: Outbox,
        now: Instant,
        pushed: Vec<(oneshot::Receiver<Reply>, Instant)>,
        in_flight: Option<Outgoing>,
        /// Sent, and not delivered.
        sent: Vec<(MessageId, Vec<usize>)>,
        /// The numbers of the batches that were sent, in their order.
        order: Vec<usize>,
        /// The numbers of those that have been answered.
        answered: Vec<usize>,
    }

    impl Model {
        fn push(&mut self, bytes: usize) {
            let (number, deadline) = (self.pushed.len(), self.now + PATIENCE);
            let batch = batch(number, bytes);
            let weight: usize = batch.iter().map(Publication::weight).sum();
            let is_idle = self.outbox.bytes == 0;
            match self.outbox.push(batch, self.now, deadline) {
                Ok(answer) => self.pushed.push((answer, deadline)),
                Err(AppendError::TooLarge { limit, .. }) => {
                    assert!(limit == PAYLOAD && bytes > PAYLOAD / 2);
                }
                Err(AppendError::Busy) => {
                    assert!(!is_idle && self.outbox.bytes + weight > ROOM);
                }
                Err(error) => panic!("{error}"),
            }
        }

        fn send(&mut self) {
            if self.in_flight.is_some() {
                return;
            }
            let Some(outgoing) = self.outbox.next(self.now, UNIX_EPOCH) else { return };
            assert!(outgoing.message.payload.len() <= PAYLOAD);
            let numbers = numbers(&outgoing.message);
            assert!(!numbers.is_empty());
            self.order.extend(&numbers);
            self.sent.push((outgoing.message.id, numbers));
            self.in_flight = Some(outgoing);
        }

        fn land(&mut self, given_up: bool) {
            let Some(outgoing) = self.in_flight.take() else { return };
            let id = outgoing.message.id;
            if given_up {
                self.outbox.give_up(id, &AppendError::Unavailable);
                let at = self.sent.iter().position(|(sent, _)| *sent == id).unwrap();
                self.answered.extend(self.sent.remove(at).1);
            } else {
                self.outbox.land(id);
            }
        }

        /// The tail delivers commits in order, maybe before they were acknowledged.
        fn deliver(&mut self) {
            if self.sent.is_empty() {
                return;
            }
            let (id, numbers) = self.sent.remove(0);
            let answers = numbers.iter().map(|_| Ok(Vec::new())).collect();
            let delivered = self.outbox.deliver(id, answers);
            assert!(delivered.is_none_or(|batches| batches == numbers.len()));
            let is_late = numbers.iter().all(|number| self.pushed[*number].1 <= self.now);
            assert!(delivered.is_some() || is_late, "only what nobody waits for is forgotten");
            if let Some(outgoing) = self.in_flight.take_if(|out| out.message.id == id) {
                let mut landed = outgoing.delivered;
                assert_eq!(landed.try_recv(), Err(oneshot::error::TryRecvError::Closed));
            }
            self.answered.extend(delivered.map(|_| numbers).unwrap_or_default());
        }

        fn check(&mut self) {
            assert!(self.order.is_sorted(), "in the order in which they came");
            let waiting = self.outbox.waiting.iter().map(|waiting| waiting.weight);
            let sent = self.outbox.sent.values().map(|sent| sent.weight);
            assert_eq!(self.outbox.bytes, waiting.chain(sent).sum::<usize>());
            assert_eq!(self.outbox.in_flight, self.in_flight.as_ref().map(|out| out.message.id));
        }
    }

    #[test]
    fn batches_leave_in_their_order_and_each_is_answered_or_forgotten_after_its_deadline() {
        let mut random = StdRng::seed_from_u64(seed());
        for _ in 0..100 {
            let outbox = Outbox::new(ROOM, PAYLOAD);
            let (now, in_flight) = (Instant::now(), None);
            let (pushed, sent, order, answered) = (vec![], vec![], vec![], vec![]);
            let mut model = Model { outbox, now, pushed, in_flight, sent, order, answered };
            for _ in 0..300 {
                match random.random_range(0..10) {
                    0..4 => model.push(random.random_range(0..PAYLOAD + 200)),
                    4..6 => model.send(),
                    6 => model.land(random.random_ratio(1, 4)),
                    7..9 => model.deliver(),
                    _ => model.now += Duration::from_millis(random.random_range(0..900)),
                }
                model.check();
            }
            model.now += 2 * PATIENCE;
            model.land(false);
            model.outbox.expire(model.now);
            assert!(model.outbox.is_idle());
            assert_eq!(model.outbox.bytes, 0);
            for (number, (answer, _)) in model.pushed.iter_mut().enumerate() {
                let answered = answer.try_recv().map(|reply| reply.answer);
                assert_ne!(answered, Err(oneshot::error::TryRecvError::Empty), "{number}");
                assert_eq!(answered.is_ok(), model.answered.contains(&number), "{number}");
            }
        }
    }

    #[test]
    fn a_closed_outbox_finishes_and_a_stopped_one_forgets() {
        let (now, mut outbox) = (Instant::now(), Outbox::new(ROOM, PAYLOAD));
        let mut answer = outbox.push(batch(1, 0), now, now + PATIENCE).unwrap();
        outbox.close(AppendError::Closed);
        let refused = outbox.push(batch(2, 0), now, now + PATIENCE);
        assert_eq!(refused.unwrap_err(), AppendError::Closed);
        let outgoing = outbox.next(now, UNIX_EPOCH).unwrap();
        assert_eq!(outbox.deliver(outgoing.message.id, vec![Ok(Vec::new())]), Some(1));
        assert!(outbox.has_untaken_replies());
        assert_eq!(answer.try_recv().map(|reply| reply.answer), Ok(Ok(Vec::new())));
        assert!(!outbox.has_untaken_replies());

        let mut outbox = Outbox::new(ROOM, PAYLOAD);
        let mut answer = outbox.push(batch(1, 0), now, now + PATIENCE).unwrap();
        outbox.stop(AppendError::Unavailable);
        let forgotten = answer.try_recv().map(|reply| reply.answer);
        assert_eq!(forgotten, Err(oneshot::error::TryRecvError::Closed));
        let refused = outbox.push(batch(2, 0), now, now + PATIENCE);
        assert_eq!(refused.unwrap_err(), AppendError::Unavailable);
        assert!(outbox.is_idle());
    }
}
