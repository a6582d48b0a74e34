//! What the core has room for it gets. From then on it may have been handed out.

use super::Window;
use message_queue_core::GroupId;
use message_queue_core::store::Answer;

impl Window {
    /// The core has all before this sequence.
    pub(in super::super) fn fetch(&mut self, group: GroupId, from: u64, bytes: usize) -> Answer {
        self.finish();
        self.drop_before(from);
        let (mut read, mut runs, mut next) = (0, Vec::new(), self.first.max(from));
        for run in &self.waiting {
            if read >= bytes {
                break;
            }
            let mut part = run.clone();
            let (messages, _) = part.batch.prefix(usize::MAX, bytes - read);
            // One in any case.
            let messages = if runs.is_empty() {
                messages.max(1)
            } else {
                messages
            };
            if messages == 0 {
                break;
            }
            part.batch = part.batch.split_to(messages);
            read += part.batch.byte_len();
            next = run.first + messages as u64;
            runs.push(part);
        }
        self.see(next);
        (self.sent, self.sent_bytes) = (next, read);
        Answer::Fetched { group, runs, next }
    }

    fn drop_before(&mut self, from: u64) {
        while let Some(run) = self.waiting.front_mut() {
            let messages = run.batch.messages() as u64;
            let dropped = from.saturating_sub(run.first).min(messages);
            if dropped < messages {
                if dropped > 0 {
                    let front = run
                        .batch
                        .split_to(usize::try_from(dropped).unwrap_or(usize::MAX));
                    run.first += dropped;
                    self.waiting_bytes -= front.byte_len();
                }
                break;
            }
            self.waiting_bytes -= run.batch.byte_len();
            self.waiting.pop_front();
        }
        self.first = self.waiting.front().map_or(self.next, |it| it.first);
    }

    /// The core gets all before this sequence: they may be handed out.
    fn see(&mut self, next: u64) {
        // What was seen before is found from the end: it is about as long as what is fetched.
        for held in self.held.iter().rev() {
            let seen = next.saturating_sub(held.first).min(held.messages);
            if seen == 0 {
                continue;
            }
            let Some(offsets) = self.offsets.get_mut(&held.partition) else {
                continue;
            };
            let below = if held.is_one {
                held.offset + 1
            } else {
                held.offset + seen.cast_signed()
            };
            if !offsets.see(below) {
                break;
            }
        }
    }
}
