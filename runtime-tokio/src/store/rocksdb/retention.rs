//! Which pieces are not needed any more. A piece is what was appended at once, so what goes is exact to some messages.

use super::keys::Head;
use super::reading::{Kept, ReadError, Runs};
use ::rocksdb::DB;
use message_queue_core::log::Retention;

/// Where a topic is to begin that has got so many bytes in all, and how many of them it has had before; none where it does
/// already. Its last piece stays.
pub(super) fn begin(
    db: &DB,
    kept: Kept,
    bytes: u64,
    retention: &Retention,
) -> Result<Option<(u64, u64)>, ReadError> {
    let mut walk = Runs::new(db, kept);
    let Some((last, _)) = walk.last()? else {
        return Ok(None);
    };
    let stays = |first, head: &Head| {
        let next = first + u64::from(head.messages);
        let is_old = head.published < retention.published_before;
        let is_settled = next <= retention.settled_up_to.saturating_add(1);
        let is_too_much = bytes.saturating_sub(head.before) > retention.max_bytes;
        first == last || !(is_old || is_settled || is_too_much)
    };
    // Most often nothing is to go.
    match walk.seek(kept.first)? {
        Some((first, value)) if !stays(first, &Head::read(value)?) => {}
        Some(_) | None => return Ok(None),
    }
    let begin = walk.first_where(kept, stays)?;
    Ok(begin.map(|(first, head)| (first, head.before)))
}
