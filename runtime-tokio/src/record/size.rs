//! How large a record may become, told before there is one.

use super::payload::{Payloads, STAND_IN_MESSAGE};
use super::step::{Call, Step};
use message_queue_core::wire::LENGTH_PREFIX;
use message_queue_core::{Count, Input, Stats, Write};

/// An input or output, or a batch with its place in a backlog, beside messages.
const BATCH: u64 = 48;

/// No checkpoint of a broker with these counters takes more bytes than this.
pub(super) fn of_checkpoint(stats: &Stats, payloads: Payloads) -> u64 {
    /// The settings, the counters, and what the end of the broker takes.
    const BROKER: u64 = 1 << 10;
    /// A connection, its timer, its place among the idle and, in `broadcast`, a group of its own.
    const CONNECTION: u64 = 640;
    let mut held = stats.flow.waiting;
    held += stats.parked;
    // At worst each message is a batch.
    let batches = held.messages * BATCH;
    BROKER + stats.connections as u64 * CONNECTION + batches + of_messages(held, payloads)
}

/// No record of this step takes more bytes than this.
pub(super) fn of_step(step: &Step<Write>, payloads: Payloads) -> u64 {
    let items = 1 + step.calls.len() + step.outputs.len();
    let batches = step.calls.iter().filter_map(|call| match call {
        Call::Input(_, Input::Batch(batch)) => Some(of_messages(Count::of(batch), payloads)),
        Call::Input(..) | Call::Timeout | Call::Drain(_) | Call::Purge => None,
    });
    items as u64 * BATCH + batches.sum::<u64>()
}

/// What is kept of these messages takes no more bytes than this.
pub(super) fn of_messages(count: Count, payloads: Payloads) -> u64 {
    match payloads {
        Payloads::Full => count.bytes,
        Payloads::Hash => count.messages * (LENGTH_PREFIX + STAND_IN_MESSAGE) as u64,
    }
}
