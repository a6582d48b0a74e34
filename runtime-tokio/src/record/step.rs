//! One step of the driver: what the core was told, and what it then asked for.

use message_queue_core::names::TopicName;
use message_queue_core::store::{Answer, Request};
use message_queue_core::wire::FrameBatch;
use message_queue_core::{Broker, ConnId, Count, GroupId, Input, Now, Output, TopicId, TopicRule};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One step: calls that came together, then all the outputs that they led to.
///
/// `W` is what is kept of the messages of a write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step<W = Digest> {
    /// When.
    pub now: Now,
    /// What the core was told, in order.
    pub calls: Vec<Call>,
    /// What it asked for, in order.
    pub outputs: Vec<Output<W>>,
    /// Whether the step came to its end. If not, the broker ended within it: the core panicked.
    pub ended: bool,
}

/// One thing that the core was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    /// [`Broker::handle_input`].
    Input(ConnId, Input),
    /// [`Broker::handle_timeout`].
    Timeout,
    /// [`Broker::drain`].
    Drain(Duration),
    /// [`Broker::purge`].
    Purge,
    /// [`Broker::delete_group`].
    EndGroup(TopicName, GroupId),
    /// [`Broker::set_rules`].
    Rules(Vec<TopicRule>),
    /// [`Broker::handle_answer`].
    Answer(TopicId, Answer),
    /// [`Broker::store_failed`].
    StoreFailed,
}

/// What is kept of a write: see [`Kept::digest`](super::Kept::digest).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// What the write holds.
    pub count: Count,
    /// A hash of what is kept of its messages, in order.
    pub hash: u64,
}

impl Call {
    /// Tells `broker` the same.
    ///
    /// # Panics
    /// If the broker does.
    pub fn apply(self, broker: &mut Broker, now: Now) {
        match self {
            Self::Input(conn, input) => broker.handle_input(conn, input, now),
            Self::Timeout => broker.handle_timeout(now),
            Self::Drain(timeout) => broker.drain(timeout, now),
            Self::Purge => {
                broker.purge(now);
            }
            Self::EndGroup(topic, group) => {
                broker.delete_group(&topic, group, now);
            }
            Self::Rules(rules) => {
                // Refused before is refused again.
                let _ = broker.set_rules(rules, now);
            }
            Self::Answer(topic, answer) => broker.handle_answer(topic, answer, now),
            Self::StoreFailed => broker.store_failed(now),
        }
    }

    /// The messages in it.
    pub(super) fn batches(&self) -> impl Iterator<Item = &FrameBatch> {
        let (mut batch, mut runs) = (None, &[][..]);
        if let Self::Input(_, Input::Batch(read)) = self {
            batch = Some(read);
        } else if let Self::Answer(_, Answer::Fetched { runs: fetched, .. }) = self {
            runs = fetched;
        }
        batch.into_iter().chain(runs.iter().map(|run| &run.batch))
    }

    /// Shows `visit` the messages in it.
    pub(super) fn each_batch(&mut self, visit: &mut dyn FnMut(&mut FrameBatch)) {
        if let Self::Input(_, Input::Batch(batch)) = self {
            visit(batch);
        } else if let Self::Answer(_, Answer::Fetched { runs, .. }) = self {
            runs.iter_mut().for_each(|run| visit(&mut run.batch));
        }
    }
}

/// The messages that a store is asked to append.
pub(super) const fn to_append<W>(output: &Output<W>) -> Option<&FrameBatch> {
    if let Output::Store {
        request: Request::Append { batch, .. },
        ..
    } = output
    {
        Some(batch)
    } else {
        None
    }
}

impl<W> Default for Step<W> {
    fn default() -> Self {
        Self {
            now: Now::START,
            calls: Vec::new(),
            outputs: Vec::new(),
            ended: false,
        }
    }
}
