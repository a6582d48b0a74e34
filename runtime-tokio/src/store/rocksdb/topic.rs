//! One topic: what the core asks for, as what is written.

use super::keys::{self, TopicEntry};
use super::reading::Kept;
use crate::store::kept;
use crate::store::status::Size;
use ::rocksdb::WriteBatch;
use message_queue_core::StoreSettings;
use message_queue_core::log::{Fsync, Producers, Retention};
use message_queue_core::names::{Name, TopicName};
use message_queue_core::store::Request;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A topic.
pub(super) struct Topic {
    pub(super) name: TopicName,
    pub(super) entry: TopicEntry,
    pub(super) settings: StoreSettings,
    /// The sequence of the next message.
    pub(super) next: u64,
    /// What was reported as appended.
    pub(super) reported: u64,
    /// When the last message was published.
    pub(super) published: u64,
    /// All bytes of messages that it has ever got, and those of them that are not kept any more.
    pub(super) bytes: u64,
    pub(super) trimmed: u64,
    pub(super) producers: Producers,
    /// Up to where each group has settled everything.
    pub(super) settled: BTreeMap<Name, u64>,
    /// Whether it is being looked at what does not have to be kept.
    pub(super) is_trimming: bool,
}

/// What of a topic was put into a batch, and is to be told when that is written.
pub(super) enum Put {
    /// All up to this sequence was appended, and was asked for then.
    Appended { up_to: u64, since: Instant },
    /// All changes of groups up to this one.
    Saved { change: u64 },
}

impl Topic {
    /// A topic that is new.
    pub(super) fn new(
        name: TopicName,
        entry: TopicEntry,
        settings: StoreSettings,
        max_producers: usize,
    ) -> Self {
        Self {
            name,
            entry,
            settings,
            next: entry.first,
            reported: entry.first - 1,
            published: 0,
            bytes: 0,
            trimmed: 0,
            producers: Producers::new(max_producers),
            settled: BTreeMap::new(),
            is_trimming: false,
        }
    }

    /// Puts into a batch what the core asks for.
    ///
    /// # Panics
    /// If the core leaves a hole.
    pub(super) fn put(
        &mut self,
        request: Request,
        since: Instant,
        batch: &mut WriteBatch,
    ) -> Option<Put> {
        let number = self.entry.number;
        match request {
            Request::Open { .. } => {
                self.put_entry(batch);
                None
            }
            Request::Append {
                first,
                published,
                batch: messages,
                producers,
                origin,
            } => {
                assert_eq!(first, self.next, "{}: a hole", self.name);
                // Where the clock was set back, the last time stands until it has caught up.
                self.published = self.published.max(published);
                let value =
                    keys::encode_run(self.published, self.bytes, &messages, origin.as_deref());
                batch.put(keys::run(number, first), value);
                self.next += messages.messages() as u64;
                self.bytes += messages.byte_len() as u64;
                let up_to = self.next - 1;
                for mark in producers {
                    let key = keys::named(keys::producers(number), &mark.name);
                    batch.put(key, keys::encode_producer(&mark, up_to));
                    if let Some(forgotten) = self.producers.mark(&mark) {
                        batch.delete(keys::named(keys::producers(number), &forgotten));
                    }
                }
                Some(Put::Appended { up_to, since })
            }
            Request::SaveGroup {
                change,
                group,
                progress,
            } => {
                let progress = kept::bounded(progress);
                let key = keys::named(keys::groups(number), group.as_str());
                batch.put(key, keys::encode(&progress));
                self.settled.insert(group, progress.settled_up_to);
                Some(Put::Saved { change })
            }
            Request::RemoveGroup { change, group } => {
                batch.delete(keys::named(keys::groups(number), group.as_str()));
                self.settled.remove(&group);
                Some(Put::Saved { change })
            }
            Request::Change(settings) => {
                self.settings = settings;
                None
            }
            // It is read elsewhere; the others are of stores that brokers share.
            Request::Fetch { .. } | Request::OpenGroup { .. } | Request::CloseGroup { .. } => None,
        }
    }

    /// Puts into a batch that it begins at this sequence, before which it has had so many bytes. Returns the keys that
    /// are deleted: from the first and before the second.
    pub(super) fn put_begin(
        &mut self,
        first: u64,
        before: u64,
        batch: &mut WriteBatch,
    ) -> (Vec<u8>, Vec<u8>) {
        let number = self.entry.number;
        let gone = (keys::run(number, 0), keys::run(number, first));
        self.entry.first = first;
        self.trimmed = before;
        self.put_entry(batch);
        batch.delete_range(&gone.0, &gone.1);
        gone
    }

    fn put_entry(&self, batch: &mut WriteBatch) {
        batch.put(keys::topic(self.name.as_str()), keys::encode(&self.entry));
    }

    /// What may be read.
    pub(super) const fn kept(&self) -> Kept {
        Kept {
            number: self.entry.number,
            first: self.entry.first,
            end: self.reported + 1,
        }
    }

    /// What it has on the disk: messages, in the files of the whole database.
    pub(super) const fn size(&self) -> Size {
        Size {
            segments: 0,
            bytes: self.bytes - self.trimmed,
        }
    }

    /// How long after it was written something is to be safe; none: that is not promised.
    pub(super) const fn within(&self) -> Option<Duration> {
        match self.settings.fsync {
            Fsync::Always => Some(Duration::ZERO),
            Fsync::Every(after) => Some(after),
            Fsync::Never => None,
        }
    }

    /// What does not have to be kept, if there is such a thing. `wall_clock`: milliseconds since 1970.
    pub(super) fn retention(&self, wall_clock: u64) -> Option<Retention> {
        kept::retention(&self.settings, &self.settled, wall_clock)
    }
}
