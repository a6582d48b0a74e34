//! How large a record may become, told before there is one.

use super::payload::{Payloads, STAND_IN_MESSAGE};
use super::step::{Call, Step, to_append};
use message_queue_core::names::MAX_NAME;
use message_queue_core::store::Request;
use message_queue_core::wire::LENGTH_PREFIX;
use message_queue_core::wire::control::Control;
use message_queue_core::{Broker, Config, Count, Input, Output, TopicRule, Write};

/// An input or output beside messages, lists and texts.
const ITEM: u64 = 128;

/// A name or a pattern, with its length.
const NAME: u64 = MAX_NAME as u64 + 2;

/// No checkpoint of this broker takes more bytes than this. Looks at its counters and settings alone.
pub(super) fn of_checkpoint(broker: &Broker, payloads: Payloads) -> u64 {
    /// The counters, and what the end of the broker takes.
    const BROKER: u64 = 1 << 10;
    /// A connection, its timer, and its write in flight beside messages.
    const CONNECTION: u64 = 384;
    /// What a connection of version 2 has beside that, what it is told not counted.
    const VERSION2: u64 = 512 + 4 * NAME;
    /// A place in a group, and the group if it is its own.
    const MEMBERSHIP: u64 = 640;
    /// A topic and its shared group. Its name is known in three places.
    const TOPIC: u64 = 1024 + 3 * NAME;
    /// A named group. Its name is known in three places.
    const GROUP: u64 = 640 + 3 * NAME;
    /// The name of a producer, known in two places, and how far that has got.
    const PRODUCER: u64 = 192 + 2 * NAME;
    /// A batch with its place in a backlog.
    const BATCH: u64 = 72;
    /// The same of version 2: it may be unsettled with an index of what is left of it, delayed, or given up.
    const BATCH2: u64 = 192;
    /// Where a dead letter came from.
    const ORIGIN: u64 = 128 + 2 * NAME;

    let stats = broker.stats();
    let messages = |count| of_messages(count, payloads);
    let times = |count: usize| count as u64;
    let mut held = stats.flow.waiting;
    held += stats.parked;
    // At worst each message is a batch.
    let batch = if stats.introduced == 0 { BATCH } else { BATCH2 };
    let mut bytes = BROKER + of_config(broker.config());
    bytes += times(stats.connections) * CONNECTION + times(stats.version2) * VERSION2;
    bytes += times(stats.memberships) * MEMBERSHIP;
    bytes += times(stats.topics) * TOPIC + times(stats.named_groups) * GROUP;
    bytes += times(stats.producer_names) * PRODUCER;
    bytes += held.messages * batch + messages(held);
    // What is written is held elsewhere too until it is settled, and may be settled before it is written.
    bytes += stats.writing.messages * BATCH + messages(stats.writing) + stats.saying;
    // What is unsettled may keep as much alive that is settled, in messages however small.
    bytes += 2 * stats.unsettled.bytes;
    if stats.flow.dead.messages > 0 {
        let groups = stats.topics + stats.named_groups + stats.memberships;
        let letters = stats.flow.dead.messages.saturating_mul(times(groups));
        bytes += held.messages.min(letters) * ORIGIN;
    }
    bytes
}

fn of_config(config: &Config) -> u64 {
    /// The numbers.
    const SETTINGS: u64 = 512;
    SETTINGS + NAME + config.server.len() as u64 + of_rules(&config.topics.rules)
}

fn of_rules(rules: &[TopicRule]) -> u64 {
    const RULE: u64 = 128 + NAME;
    let rules = rules.iter().map(|rule| {
        let groups = rule.groups.as_ref().map_or(0, Vec::len);
        // Each topic of the rule knows the names, too; and more of a group, once it is made.
        RULE + groups as u64 * NAME
    });
    rules.sum()
}

/// No record of this step takes more bytes than this.
pub(super) fn of_step(step: &Step<Write>, payloads: Payloads) -> u64 {
    let items = 1 + step.calls.len() + step.outputs.len();
    let stored = step.outputs.iter().filter_map(to_append);
    let stored = stored.map(|batch| of_messages(Count::of(batch), payloads) + 2 * NAME);
    let calls = step.calls.iter().map(|call| match call {
        Call::Input(_, Input::Batch(batch)) => of_messages(Count::of(batch), payloads),
        Call::Input(_, Input::Control(control)) => of_control(control),
        Call::Input(_, Input::Options(_)) => 4 * NAME,
        Call::Input(_, Input::BadOptions(bad)) => bad.text.len() as u64,
        Call::EndGroup(..) => NAME,
        Call::Rules(rules) => of_rules(rules),
        Call::Answer(..) => {
            let runs = call.batches();
            runs.map(|batch| ITEM + of_messages(Count::of(batch), payloads))
                .sum()
        }
        Call::Input(..) | Call::Timeout | Call::Drain(_) | Call::Purge | Call::StoreFailed => 0,
    });
    let outputs = step.outputs.iter().map(|output| match output {
        Output::Farewell { bytes, .. } => bytes.len() as u64,
        Output::Write { .. }
        | Output::Close { .. }
        | Output::Pause { .. }
        | Output::Resume { .. }
        | Output::Registered { .. }
        | Output::Dropped { .. } => 0,
        Output::Store { request, .. } => of_request(request),
    });
    items as u64 * ITEM + calls.sum::<u64>() + stored.sum::<u64>() + outputs.sum::<u64>()
}

/// The lists and texts of what a store is asked for, its messages not counted.
fn of_request(request: &Request) -> u64 {
    /// A range, or a failure.
    const RANGE: u64 = 30;
    match request {
        Request::SaveGroup { progress, .. } => {
            let ranges = progress.settled.len() + progress.failed.len();
            NAME + ranges as u64 * RANGE
        }
        Request::Append { origin, .. } => origin
            .as_ref()
            .map_or(0, |it| 3 * NAME + it.reason.len() as u64),
        Request::Open { .. } | Request::RemoveGroup { .. } => NAME,
        Request::OpenGroup { .. } => NAME,
        Request::Fetch { .. } | Request::Change(_) | Request::CloseGroup { .. } => 0,
    }
}

/// The lists and texts of a control frame.
fn of_control(control: &Control) -> u64 {
    /// Two positions.
    const RANGE: u64 = 20;
    match control {
        Control::Settle { ranges, .. } => ranges.len() as u64 * RANGE,
        Control::Topic(name) => name.len() as u64,
        Control::Ping(_)
        | Control::Pong(..)
        | Control::Flush(_)
        | Control::Bye
        | Control::Credit { .. } => 0,
        // No client may send these, so they are no input.
        Control::Flushed(_)
        | Control::Error(_)
        | Control::GoAway { .. }
        | Control::Confirmed { .. }
        | Control::Refused(..)
        | Control::Blocked { .. }
        | Control::Run { .. }
        | Control::Gap(..)
        | Control::Origin(_)
        | Control::Revoked { .. }
        | Control::Check { .. }
        | Control::Segment { .. } => 0,
    }
}

/// What is kept of these messages takes no more bytes than this.
pub(super) fn of_messages(count: Count, payloads: Payloads) -> u64 {
    match payloads {
        Payloads::Full => count.bytes,
        Payloads::Hash => count.messages * (LENGTH_PREFIX + STAND_IN_MESSAGE) as u64,
    }
}
