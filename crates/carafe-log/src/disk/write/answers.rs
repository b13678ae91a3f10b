//! The answers to publishers whose publications were committed.
//!
//! An answer wakes a task on another thread, which may take the processor from the writer at once.
//! With many publishers, the two would alternate after each answer. So the writer wakes one helper
//! per commit, if there is one, and that gives the answers on the threads of the publishers.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_channel::oneshot;

use crate::{AppendAtError, AppendError, Appended, OrderedAnswers};

/// The answer to one job, if its commit is stored.
pub(crate) enum Answer {
    Appended(oneshot::Sender<Result<Vec<Appended>, AppendError>>, Vec<Appended>),
    /// Refused because of what comes before it in the commit.
    Refused(oneshot::Sender<Result<Vec<Appended>, AppendError>>, AppendError),
    Supplied(oneshot::Sender<Result<(), AppendAtError>>),
    Ordered(oneshot::Sender<Result<OrderedAnswers, AppendAtError>>, OrderedAnswers),
}

/// The answers of one commit.
pub(crate) struct CommitAnswers {
    pub(crate) answers: Vec<Answer>,
    pub(crate) stored: Result<(), AppendError>,
}

impl CommitAnswers {
    /// Gives the answers. A caller may have dropped its receiver.
    fn give(self) {
        let Self { answers, stored } = self;
        for answer in answers {
            match answer {
                Answer::Appended(reply, appended) => {
                    drop(reply.send(stored.clone().map(|()| appended)));
                }
                Answer::Refused(reply, error) => {
                    drop(reply.send(stored.clone().and(Err(error))));
                }
                Answer::Supplied(reply) => drop(reply.send(stored.clone().map_err(Into::into))),
                Answer::Ordered(reply, answers) => {
                    drop(reply.send(stored.clone().map(|()| answers).map_err(Into::into)));
                }
            }
        }
    }
}

/// Where the writer leaves answers for the helper.
#[derive(Default)]
pub(crate) struct Outbox(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    answers: Vec<CommitAnswers>,
    has_helper: bool,
    helper: Option<Waker>,
    closed: bool,
}

impl Outbox {
    /// Lets the helper give the answers. Without one, gives them here.
    pub(crate) fn send(&self, answers: CommitAnswers) {
        let mut waiting = self.waiting();
        if !waiting.has_helper {
            drop(waiting);
            return answers.give();
        }
        waiting.answers.push(answers);
        let helper = waiting.helper.take();
        // After the lock, which the helper takes at once.
        drop(waiting);
        helper.into_iter().for_each(Waker::wake);
    }

    /// Ends the helper.
    pub(crate) fn close(&self) {
        let mut waiting = self.waiting();
        waiting.closed = true;
        let helper = waiting.helper.take();
        drop(waiting);
        helper.into_iter().for_each(Waker::wake);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives the answers on the thread that polls it.
pub(crate) struct AnswerHelper {
    outbox: Arc<Outbox>,
    /// This is the helper. There is none until it is polled, and one at most.
    is_helper: bool,
}

impl AnswerHelper {
    pub(crate) fn new(outbox: Arc<Outbox>) -> Self {
        Self { outbox, is_helper: false }
    }
}

impl Future for AnswerHelper {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let outbox = Arc::clone(&self.outbox);
        let mut waiting = outbox.waiting();
        if waiting.closed || (waiting.has_helper && !self.is_helper) {
            return Poll::Ready(());
        }
        (self.is_helper, waiting.has_helper) = (true, true);
        waiting.helper = Some(cx.waker().clone());
        let answers = std::mem::take(&mut waiting.answers);
        drop(waiting);
        answers.into_iter().for_each(CommitAnswers::give);
        Poll::Pending
    }
}

impl Drop for AnswerHelper {
    /// Gives the answers that are left: the writer gives all further ones itself.
    fn drop(&mut self) {
        if self.is_helper {
            let mut waiting = self.outbox.waiting();
            let answers = std::mem::take(&mut waiting.answers);
            (waiting.has_helper, waiting.helper) = (false, None);
            drop(waiting);
            answers.into_iter().for_each(CommitAnswers::give);
        }
    }
}
