//! What a log knows of the life of a topic.

use std::time::SystemTime;

use carafe_protocol::Position;

use crate::Outcome;

/// What a log knows of the life of a topic.
///
/// ```
/// use carafe_log::{Append, MemoryLog, Outcome, Publication, Read, TopicState};
/// use carafe_protocol::Topic;
///
/// # futures_executor::block_on(async {
/// let (log, topic) = (MemoryLog::default(), Topic::new("jobs/7")?);
/// assert_eq!(log.topic_state(&topic), TopicState::default());
///
/// let ended = log.append(vec![Publication::end(topic.clone(), Outcome::Done)]).await?;
/// let end = log.topic_state(&topic).end.unwrap();
/// assert_eq!((end.outcome, end.position), (Outcome::Done, ended[0].position));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicState {
    /// The end of the topic, if it has ended and was not reopened since.
    pub end: Option<TopicEnd>,
    /// The position of the request to stop, if its producer was asked to stop and the topic has
    /// neither ended nor been reopened since.
    pub stop: Option<Position>,
}

/// The end of a topic.
///
/// ```
/// use carafe_log::TopicState;
///
/// let state = TopicState::default();
/// assert_eq!(state.end.map(|end| end.outcome), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicEnd {
    /// How the topic has ended.
    pub outcome: Outcome,
    /// The position of the end.
    pub position: Position,
    /// The time of the end, by the clock of the log.
    pub time: SystemTime,
    /// Whether only subscribers with access to private events of the topic may know of the end.
    pub private: bool,
}
