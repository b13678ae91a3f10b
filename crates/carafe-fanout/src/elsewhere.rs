//! Systems without shards, such as Windows: there, the server that runs the app delivers the
//! streams. The types exist, so that their users need no conditions, and have no values.

use std::convert::Infallible;
use std::marker::PhantomData;

use carafe_hub::Frames;

use crate::stream::{NewStream, StreamObserver};

/// Shards, of which this system has none.
pub struct ShardPool<G: StreamObserver> {
    never: Infallible,
    _streams: PhantomData<G>,
}

impl<G: StreamObserver> Clone for ShardPool<G> {
    fn clone(&self) -> Self {
        match self.never {}
    }
}

impl<G: StreamObserver> ShardPool<G> {
    /// Passes a stream to a shard.
    pub fn add(&self, _: impl Into<Transport>, _: NewStream<G>) {
        match self.never {}
    }

    /// Ends streams that were revoked.
    pub fn review(&self) {
        match self.never {}
    }

    /// Whether the frames are of the hub that the shards serve.
    #[must_use]
    pub fn serves(&self, _: &Frames) -> bool {
        match self.never {}
    }
}

/// The connection of a stream.
pub struct Transport(Infallible);
