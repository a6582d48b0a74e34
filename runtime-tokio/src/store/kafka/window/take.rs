//! What comes from Kafka gets its sequences, and waits for the core.

use super::{Alike, Held, Window};
use crate::store::kafka::record::Content;
use message_queue_core::GroupId;
use message_queue_core::store::{Answer, Run};
use message_queue_core::wire::control::Origin;
use message_queue_core::wire::{Encoder, FrameBatch, LENGTH_PREFIX};

impl Window {
    /// Takes a record. What the group has settled before is passed over.
    pub(in super::super) fn take(
        &mut self,
        partition: i32,
        offset: i64,
        published: u64,
        content: Content<'_>,
    ) {
        let Some(attempts) = self.come(partition, offset) else {
            return;
        };
        let (messages, is_one) = match content {
            Content::Message(body, None) => {
                self.waiting_bytes += LENGTH_PREFIX + body.len();
                self.alike(published, attempts, body);
                (1, false)
            }
            Content::Message(body, Some(origin)) => {
                // What is too large was passed over.
                let Ok(batch) = FrameBatch::encode([body]) else {
                    return;
                };
                self.run(published, attempts, batch, Some(origin));
                (1, false)
            }
            Content::Batch(batch) => {
                let messages = batch.messages() as u64;
                self.run(published, attempts, batch, None);
                (messages, true)
            }
        };
        if self.is_tracked {
            self.hold(messages, partition, offset, is_one);
        } else if let Some(offsets) = self.offsets.get_mut(&partition) {
            offsets.settle(offset, offset + 1);
        }
        self.next += messages;
    }

    /// Passes over a record that cannot be handed out: it is settled.
    pub(in super::super) fn pass_over(&mut self, partition: i32, offset: i64) {
        self.come(partition, offset);
        if let Some(offsets) = self.offsets.get_mut(&partition) {
            offsets.settle(offset, offset + 1);
        }
    }

    /// How often it may have been handed out before; none if it is settled.
    fn come(&mut self, partition: i32, offset: i64) -> Option<u32> {
        self.offsets
            .get_mut(&partition)?
            .take(offset)
            .map(u32::from)
    }

    fn alike(&mut self, published: u64, attempts: u32, body: &[u8]) {
        let is_like = |it: &Alike| (it.published, it.attempts) == (published, attempts);
        if !self.alike.as_ref().is_some_and(is_like) {
            self.finish();
        }
        let first = self.next;
        let alike = self.alike.get_or_insert_with(|| Alike {
            first,
            published,
            attempts,
            encoder: Encoder::new(),
        });
        // What is too large was passed over.
        let _ = alike.encoder.push(body);
    }

    fn run(
        &mut self,
        published: u64,
        attempts: u32,
        batch: FrameBatch,
        origin: Option<Box<Origin>>,
    ) {
        self.finish();
        self.waiting_bytes += batch.byte_len();
        self.waiting.push_back(Run {
            first: self.next,
            published,
            batch,
            origin,
            attempts,
        });
    }

    /// What is alike is a run: something else comes.
    pub(super) fn finish(&mut self) {
        if let Some(mut alike) = self.alike.take() {
            let run = Run {
                first: alike.first,
                published: alike.published,
                batch: alike.encoder.take(),
                origin: None,
                attempts: alike.attempts,
            };
            self.waiting.push_back(run);
        }
    }

    fn hold(&mut self, messages: u64, partition: i32, offset: i64, is_one: bool) {
        if let Some(last) = self.held.back_mut()
            && !is_one
            && !last.is_one
            && last.partition == partition
            && last.offset + last.messages.cast_signed() == offset
        {
            last.messages += messages;
            return;
        }
        self.held.push_back(Held {
            first: self.next,
            messages,
            partition,
            offset,
            is_one,
        });
    }

    /// What has come since the core was told last.
    pub(in super::super) fn arrived(&mut self, group: GroupId) -> Option<Answer> {
        self.finish();
        let up_to = self.next - 1;
        if self.told == up_to {
            return None;
        }
        self.told = up_to;
        Some(Answer::Arrived { group, up_to })
    }
}
