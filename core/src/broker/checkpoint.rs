//! The whole state of a broker, to go on from elsewhere and later.

use super::Broker;
use crate::session::Consumer;
use crate::wire::FrameBatch;

/// The state of a [`Broker`] between two steps: [`Broker::checkpoint`].
///
/// Messages are shared with the broker, not copied. With the feature `serde` a checkpoint can be
/// written and read, in whatever format; each part of the broker derives its own piece.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Checkpoint(Broker);

impl Checkpoint {
    /// Shows `visit` every batch of messages in it, to be replaced by others of the same lengths
    /// or, for a while, by what is to be written in their place.
    pub fn each_batch(&mut self, visit: &mut dyn FnMut(&mut FrameBatch)) {
        let Broker { topics, shared, .. } = &mut self.0;
        for session in shared.sessions.values_mut() {
            session.outbox.each_batch(visit);
            let acks = session.consumer_mut().and_then(|it| it.acks.as_mut());
            if let Some(acks) = acks {
                acks.unsettled.each_batch(visit);
            }
        }
        for topic in topics.values_mut() {
            topic.each_batch(visit);
        }
    }
}

impl Broker {
    /// The state of the broker, to [`restore`](Self::restore) one that goes on as this one does.
    /// Takes a reference to every batch that waits; copies no message.
    ///
    /// # Panics
    /// If there is an output that was not polled: it would be lost.
    pub fn checkpoint(&self) -> Checkpoint {
        assert!(self.shared.outputs.is_empty(), "an output was not polled");
        let mut broker = self.clone();
        for session in broker.shared.sessions.values_mut() {
            if session.consumer().is_some_and(Consumer::checks) {
                session.outbox.forget_sums();
            }
        }
        Checkpoint(broker)
    }

    /// A broker in the state of `checkpoint`.
    ///
    /// Nothing is checked here. Where a checkpoint comes from outside, it is for
    /// [`check_invariants`](Self::check_invariants) to say whether it is the state of a broker.
    pub fn restore(checkpoint: Checkpoint) -> Self {
        checkpoint.0
    }
}
