//! A view of all that goes into the core and comes out of it, for simulations and recordings.

use message_queue_core::names::TopicName;
use message_queue_core::store::Answer;
use message_queue_core::{Broker, ConnId, GroupId, Input, Now, Output, TopicId, TopicRule};
use std::time::Duration;

/// One thing that goes into the core or comes out of it.
#[derive(Clone, Copy, Debug)]
pub enum Observed<'a> {
    /// The core is about to be told this: [`Broker::handle_input`].
    Input(ConnId, &'a Input),
    /// The core is about to do what is due: [`Broker::handle_timeout`].
    Timeout,
    /// The core is about to begin its orderly end: [`Broker::drain`].
    Drain(Duration),
    /// The core is about to empty the queue: [`Broker::purge`].
    Purge,
    /// The core is about to end a named group: [`Broker::delete_group`].
    EndGroup(&'a TopicName, GroupId),
    /// The core is about to take other rules for topics: [`Broker::set_rules`].
    Rules(&'a [TopicRule]),
    /// The core is about to be told what a topic's store has done: [`Broker::handle_answer`].
    Answer(TopicId, &'a Answer),
    /// The core is about to be told that the store has failed: [`Broker::store_failed`].
    StoreFailed,
    /// The core asked for this, or tells it.
    Output(&'a Output),
}

/// Sees everything, in order.
///
/// The driver works in steps: inputs (one, or some that come together), then all the outputs that
/// they led to. An observer is called under the lock of the core, so nothing happens meanwhile; and
/// so it must not call the broker's [`Handle`](crate::Handle).
pub trait Observer: Send {
    /// Everything is shown from now on; the broker is as it is here.
    fn begins(&mut self, _broker: &Broker) {}

    /// One thing.
    fn observe(&mut self, observed: Observed<'_>, now: Now);

    /// The end of a step.
    fn step_ended(&mut self, broker: &Broker, now: Now);
}
