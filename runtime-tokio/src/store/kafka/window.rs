//! What has come for a group: in runs, until the core has them; and which offsets its sequences stand for, until they are
//! settled.

use super::offsets::Offsets;
use super::record::Content;
use message_queue_core::GroupId;
use message_queue_core::log::Progress;
use message_queue_core::store::{Answer, Run};
use message_queue_core::wire::control::Origin;
use message_queue_core::wire::{Encoder, FrameBatch, LENGTH_PREFIX};
use std::collections::{BTreeMap, VecDeque};

/// The most bytes that wait for the core; a record more in any case.
const MOST_BYTES: usize = 4 << 20;

/// What a group has from Kafka.
pub(super) struct Window {
    /// The sequence of the next message that comes.
    pub(super) next: u64,
    /// The most messages that wait for the core, a record more in any case.
    most: usize,
    /// What has come and is not known to be in the core's window, in order and without holes from `first` on.
    waiting: VecDeque<Run>,
    first: u64,
    waiting_bytes: usize,
    /// What the core was sent last is kept until it asks for what is behind it: it may have taken a part of it. Where that ends,
    /// and its bytes.
    sent: u64,
    sent_bytes: usize,
    /// Messages that make one run, and are not in `waiting` yet.
    alike: Option<Alike>,
    /// What is not settled, in order of its sequences.
    held: VecDeque<Held>,
    /// The partitions that it has.
    offsets: BTreeMap<i32, Offsets>,
    /// Whether settling is remembered: a group of one's own settles nothing.
    is_tracked: bool,
    /// Up to where the core was told.
    told: u64,
}

/// Messages that were published in the same millisecond.
struct Alike {
    first: u64,
    published: u64,
    attempts: u32,
    encoder: Encoder,
}

/// The sequences of some messages that have come one after the other, and their offsets.
struct Held {
    first: u64,
    messages: u64,
    partition: i32,
    /// Of the first.
    offset: i64,
    /// Whether all are in one record.
    is_one: bool,
}

impl Window {
    /// One that is empty, of which sequences begin at `next`.
    pub(super) fn new(next: u64, most: usize, is_tracked: bool) -> Self {
        Self {
            next,
            most: most.max(1),
            waiting: VecDeque::new(),
            first: next,
            waiting_bytes: 0,
            sent: next,
            sent_bytes: 0,
            alike: None,
            held: VecDeque::new(),
            offsets: BTreeMap::new(),
            is_tracked,
            told: next - 1,
        }
    }

    /// It has these partitions now, and nothing of them.
    pub(super) fn assign(&mut self, offsets: BTreeMap<i32, Offsets>) {
        self.clear();
        self.offsets = offsets;
    }

    /// It has nothing.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.sent = self.next;
        self.sent_bytes = 0;
        self.alike = None;
        self.held.clear();
        self.offsets.clear();
        self.first = self.next;
        self.told = self.next - 1;
    }

    /// Whether nothing more is to come before the core has taken some.
    pub(super) fn is_full(&self) -> bool {
        let messages = usize::try_from(self.next - self.sent).unwrap_or(usize::MAX);
        messages >= self.most || self.waiting_bytes - self.sent_bytes >= MOST_BYTES
    }

    /// Takes a record. What the group has settled before is passed over.
    pub(super) fn take(
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
    pub(super) fn pass_over(&mut self, partition: i32, offset: i64) {
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
    fn finish(&mut self) {
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
    pub(super) fn arrived(&mut self, group: GroupId) -> Option<Answer> {
        self.finish();
        let up_to = self.next - 1;
        if self.told == up_to {
            return None;
        }
        self.told = up_to;
        Some(Answer::Arrived { group, up_to })
    }

    /// The core has all before this sequence.
    pub(super) fn fetch(&mut self, group: GroupId, from: u64, bytes: usize) -> Answer {
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

    /// These are settled by now.
    pub(super) fn settle(&mut self, progress: &Progress) {
        let up_to = [(0, progress.settled_up_to)];
        let ranges = progress.settled.iter().map(|it| (it.from, it.to));
        let ranges: Vec<_> = up_to.into_iter().chain(ranges).collect();
        let mut at = 0;
        for held in &self.held {
            let last = held.first + held.messages - 1;
            while at < ranges.len() && ranges[at].1 < held.first {
                at += 1;
            }
            let Some(offsets) = self.offsets.get_mut(&held.partition) else {
                continue;
            };
            for (from, to) in ranges[at..].iter().take_while(|(from, _)| *from <= last) {
                let (from, to) = ((*from).max(held.first), (*to).min(last));
                if !held.is_one {
                    let begin = held.offset + (from - held.first).cast_signed();
                    let end = held.offset + (to + 1 - held.first).cast_signed();
                    offsets.settle(begin, end);
                } else if (from, to) == (held.first, last) {
                    offsets.settle(held.offset, held.offset + 1);
                }
            }
        }
        while let Some(held) = self.held.front()
            && held.first + held.messages - 1 <= progress.settled_up_to
        {
            self.held.pop_front();
        }
    }

    /// What is to be committed of each partition: of all, or of those where something was settled since the last time.
    pub(super) fn take_commits(&mut self, all: bool) -> Vec<(i32, i64, String)> {
        let offsets = self.offsets.iter_mut();
        let changed = offsets.filter_map(|(partition, offsets)| {
            let is_changed = offsets.take_changed();
            (is_changed || all).then(|| {
                let (offset, metadata) = offsets.commit();
                (*partition, offset, metadata)
            })
        });
        changed.collect()
    }

    /// A commit has failed: it is to be made again.
    pub(super) fn not_committed(&mut self, partitions: &[i32]) {
        for partition in partitions {
            if let Some(offsets) = self.offsets.get_mut(partition) {
                offsets.not_committed();
            }
        }
    }

    /// The partitions that it has.
    pub(super) fn partitions(&self) -> impl Iterator<Item = i32> {
        self.offsets.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use message_queue_core::wire::control::Range;

    const GROUP: GroupId = GroupId::Shared;

    /// A window on these partitions, of which nothing was settled.
    fn window(partitions: &[i32]) -> Window {
        let mut window = Window::new(5, 3, true);
        let offsets = partitions.iter();
        window.assign(offsets.map(|it| (*it, Offsets::committed(0, ""))).collect());
        window
    }

    fn take(window: &mut Window, partition: i32, offset: i64, text: &str) {
        window.take(
            partition,
            offset,
            7,
            Content::Message(text.as_bytes(), None),
        );
    }

    fn batch(window: &mut Window, partition: i32, offset: i64, texts: &[&str]) {
        let batch = FrameBatch::encode(texts).unwrap();
        window.take(partition, offset, 7, Content::Batch(batch));
    }

    /// The sequences and the texts of what is fetched, and where the next fetch begins.
    fn fetch(window: &mut Window, from: u64, bytes: usize) -> (Vec<(u64, String)>, u64) {
        let Answer::Fetched { runs, next, .. } = window.fetch(GROUP, from, bytes) else {
            panic!("not fetched");
        };
        let mut messages = Vec::new();
        for run in runs {
            for (sequence, body) in (run.first..).zip(run.batch.bodies()) {
                let text = String::from_utf8(body.as_ref().to_vec()).unwrap();
                messages.push((sequence, text));
            }
        }
        (messages, next)
    }

    fn settle(window: &mut Window, up_to: u64, ranges: &[(u64, u64)]) {
        let settled = ranges.iter().map(|(from, to)| Range {
            from: *from,
            to: *to,
        });
        window.settle(&Progress {
            settled_up_to: up_to,
            settled: settled.collect(),
            failed: Vec::new(),
        });
    }

    fn commits(window: &mut Window) -> Vec<(i32, i64, String)> {
        window.take_commits(false)
    }

    #[test]
    fn sequences_rise_over_partitions_and_stand_for_their_offsets() {
        let mut window = window(&[0, 1]);
        take(&mut window, 0, 0, "a");
        take(&mut window, 1, 0, "b");
        take(&mut window, 0, 1, "c");
        let arrived = Answer::Arrived {
            group: GROUP,
            up_to: 7,
        };
        assert_eq!(window.arrived(GROUP), Some(arrived));
        assert_eq!(window.arrived(GROUP), None);
        let (messages, next) = fetch(&mut window, 5, 1_000);
        let expected = [(5, "a"), (6, "b"), (7, "c")].map(|(it, text)| (it, text.to_owned()));
        assert_eq!((messages, next), (expected.to_vec(), 8));
        settle(&mut window, 4, &[(6, 7)]);
        assert_eq!(
            commits(&mut window),
            [(0, 0, "mq1 2 1-2".into()), (1, 1, "mq1 1".into())]
        );
        assert!(commits(&mut window).is_empty());
        window.not_committed(&[1]);
        assert_eq!(commits(&mut window), [(1, 1, "mq1 1".into())]);
        settle(&mut window, 7, &[]);
        assert_eq!(commits(&mut window), [(0, 2, "mq1 2".into())]);
    }

    #[test]
    fn a_record_is_settled_when_all_of_its_messages_are() {
        let mut window = window(&[0]);
        batch(&mut window, 0, 0, &["a", "b", "c"]);
        batch(&mut window, 0, 1, &["d", "e"]);
        settle(&mut window, 6, &[(8, 9)]);
        assert_eq!(commits(&mut window), [(0, 0, "mq1 0 1-2".into())]);
        settle(&mut window, 9, &[]);
        assert_eq!(commits(&mut window), [(0, 2, "mq1 0".into())]);
    }

    #[test]
    fn it_is_full_until_the_core_has_fetched_some_and_what_it_did_not_take_it_fetches_again() {
        let mut window = window(&[0]);
        for (offset, text) in (0..).zip(["a", "b", "c"]) {
            assert!(!window.is_full());
            take(&mut window, 0, offset, text);
        }
        assert!(window.is_full());
        let (messages, next) = fetch(&mut window, 5, 10);
        assert_eq!((messages.len(), next), (2, 7));
        assert!(!window.is_full());
        let (messages, next) = fetch(&mut window, 6, 10);
        assert_eq!(messages[0], (6, "b".to_owned()));
        assert_eq!((messages.len(), next), (2, 8));
        assert_eq!(fetch(&mut window, 8, 10), (vec![], 8));
    }

    #[test]
    fn what_is_passed_over_is_settled_and_holds_up_nothing() {
        let mut window = window(&[0]);
        window.pass_over(0, 0);
        take(&mut window, 0, 1, "a");
        assert_eq!(fetch(&mut window, 5, 10).0, [(5, "a".to_owned())]);
        assert_eq!(commits(&mut window), [(0, 1, "mq1 2".into())]);
    }

    #[test]
    fn a_group_of_ones_own_remembers_nothing_of_what_came() {
        let mut window = Window::new(1, 100, false);
        window.assign([(0, Offsets::committed(0, ""))].into());
        for offset in [0, 1, 4, 7] {
            take(&mut window, 0, offset, "a");
        }
        assert_eq!(window.take_commits(true), [(0, 8, "mq1 0".into())]);
        assert!(window.held.is_empty());
    }

    #[test]
    fn after_a_rebalance_what_was_settled_does_not_come_and_what_was_seen_is_another_attempt() {
        let mut window = window(&[0]);
        for (offset, text) in (0..).zip(["a", "b", "c"]) {
            take(&mut window, 0, offset, text);
        }
        fetch(&mut window, 5, 10);
        settle(&mut window, 4, &[(6, 6)]);
        let (partition, low, metadata) = window.take_commits(true).remove(0);
        window.assign([(partition, Offsets::committed(low, &metadata))].into());
        for (offset, text) in (0..).zip(["a", "b", "c"]) {
            take(&mut window, 0, offset, text);
        }
        // Of a partition that it has not.
        take(&mut window, 1, 0, "x");
        let Answer::Fetched { runs, .. } = window.fetch(GROUP, 8, 1_000) else {
            panic!("not fetched");
        };
        let runs: Vec<_> = runs.iter().map(|it| (it.first, it.attempts)).collect();
        assert_eq!(runs, [(8, 1), (9, 0)]);
    }
}
