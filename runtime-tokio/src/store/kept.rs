//! What is kept of a topic, whatever the engine.

use message_queue_core::StoreSettings;
use message_queue_core::log::{Progress, Retention};
use message_queue_core::names::Name;
use std::collections::BTreeMap;

/// The most ranges that are saved of what a group has settled out of order. What is beyond them may be handed out again
/// after a crash.
const MOST_RANGES: usize = 100_000;

/// What is saved of how far a group has got.
pub(super) fn bounded(mut progress: Progress) -> Progress {
    progress.settled.truncate(MOST_RANGES);
    progress.failed.truncate(MOST_RANGES);
    progress
}

/// What of a topic does not have to be kept, if there is such a thing: by its settings, by up to where each of its groups
/// has settled everything, and by the time in milliseconds since 1970.
pub(super) fn retention(
    settings: &StoreSettings,
    settled: &BTreeMap<Name, u64>,
    wall_clock: u64,
) -> Option<Retention> {
    let StoreSettings {
        retention,
        retention_bytes,
        retention_settled,
        ..
    } = *settings;
    if retention.is_none() && retention_bytes.is_none() && !retention_settled {
        return None;
    }
    let age = retention.map_or(u64::MAX, |it| it.as_millis() as u64);
    let settled = settled.values().min();
    Some(Retention {
        published_before: wall_clock.saturating_sub(age),
        max_bytes: retention_bytes.unwrap_or(u64::MAX),
        settled_up_to: settled.copied().filter(|_| retention_settled).unwrap_or(0),
    })
}
