//! What a consumer is handed, and how it says what became of it.

use super::inbound::{Handed, Inbound};
use super::link::Shared;
use bytes::Bytes;
use message_queue_core::client::Position;
use message_queue_core::wire::FrameBatch;
use message_queue_core::wire::control::{Origin, Outcome};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// What is known of messages beside their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The topic.
    pub topic: Arc<str>,
    /// The place in the topic: of a batch, that of its first message; the others follow one by one.
    pub sequence: u64,
    /// When it was published, in milliseconds since 1970.
    pub published: u64,
    /// Which hand-out to its group this is, from 1.
    pub attempt: u32,
    /// For a dead letter: where it came from.
    pub origin: Option<Origin>,
}

/// A message, which is this consumer's until it says what became of it.
///
/// Dropping it says nothing: the broker hands it out again when the consumer has gone.
#[must_use = "it counts as unsettled until it is told what became of it"]
pub struct Message {
    /// Its bytes. They keep alive the memory of the batch that it came in.
    pub body: Bytes,
    /// What else is known of it.
    pub meta: Meta,
    lease: Lease,
}

/// Messages with consecutive sequences. What is said of a batch is said of all of them.
#[must_use = "its messages count as unsettled until it is told what became of them"]
pub struct Batch {
    /// The messages.
    pub frames: FrameBatch,
    /// What else is known of them.
    pub meta: Meta,
    lease: Lease,
}

/// Positions that a consumer holds.
struct Lease {
    shared: Arc<Shared<Inbound>>,
    from: Position,
    to: Position,
}

impl Lease {
    fn settle(&self, outcome: Outcome, delay: Duration) -> bool {
        let settled = self
            .shared
            .lock()
            .settle(outcome, delay, self.from, self.to);
        self.shared.wake();
        settled
    }

    fn ack_part(&self, places: Range<usize>) -> bool {
        let at = |place: usize| self.from.plus(place as u64);
        assert!(!places.is_empty(), "no message in {places:?}");
        let (from, to) = (at(places.start), at(places.end - 1));
        assert!(to <= self.to, "{places:?} are not in the batch");
        let mut state = self.shared.lock();
        let settled = state.settle(Outcome::Done, Duration::ZERO, from, to);
        drop(state);
        self.shared.wake();
        settled
    }

    fn ack_up_to(&self) -> bool {
        let settled = self.shared.lock().ack_up_to(self.to);
        self.shared.wake();
        settled
    }
}

macro_rules! settling {
    () => {
        /// The work is done. Like all that is said of messages this is on its way at once, and is told in few bytes
        /// however many messages are settled one by one. What is said first counts.
        ///
        /// Returns `false` where it has no effect, because the connection has ended on which the broker handed it out:
        /// it is handed out again, here or elsewhere.
        pub fn ack(&self) -> bool {
            self.lease.settle(Outcome::Done, Duration::ZERO)
        }

        /// The work is done on this and on all that this consumer was handed before it.
        pub fn ack_up_to(&self) -> bool {
            self.lease.ack_up_to()
        }

        /// The work failed: to be handed out again after so long at least (up to 49 days). The broker counts failures,
        /// and waits longer after each; a message that fails too often becomes a dead letter.
        pub fn fail(&self, delay: Duration) -> bool {
            self.lease.settle(Outcome::Failed, delay)
        }

        /// To be handed out again at once, here or elsewhere. Nothing has failed.
        pub fn release(&self) -> bool {
            self.lease.settle(Outcome::Return, Duration::ZERO)
        }

        /// The work can never succeed: it becomes a dead letter.
        pub fn reject(&self) -> bool {
            self.lease.settle(Outcome::Reject, Duration::ZERO)
        }

        /// It takes longer: where the topic has an `ack_timeout`, that begins anew.
        pub fn still_working(&self) -> bool {
            self.lease.settle(Outcome::Working, Duration::ZERO)
        }
    };
}

impl Message {
    settling!();

    pub(super) fn new(handed: Handed, shared: Arc<Shared<Inbound>>) -> Option<Self> {
        let Batch {
            frames,
            meta,
            lease,
        } = Batch::new(handed, shared);
        let body = frames.bodies().next()?;
        Some(Self { body, meta, lease })
    }
}

impl Batch {
    settling!();

    /// The work is done on some of them, by their places from 0.
    ///
    /// # Panics
    /// If they are not in the batch, or none.
    pub fn ack_part(&self, places: Range<usize>) -> bool {
        self.lease.ack_part(places)
    }

    pub(super) fn new(handed: Handed, shared: Arc<Shared<Inbound>>) -> Self {
        let Handed {
            batch,
            delivery,
            place,
        } = handed;
        let last = place + batch.messages().saturating_sub(1);
        let lease = Lease {
            shared,
            from: delivery.position(place),
            to: delivery.position(last),
        };
        let meta = Meta {
            sequence: delivery.sequence + place as u64,
            topic: delivery.topic.unwrap_or_else(|| "".into()),
            published: delivery.published,
            attempt: delivery.attempt,
            origin: delivery.origin,
        };
        Self {
            frames: batch,
            meta,
            lease,
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("body", &self.body)
            .field("meta", &self.meta)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("frames", &self.frames)
            .field("meta", &self.meta)
            .finish_non_exhaustive()
    }
}
