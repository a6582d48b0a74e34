//! What a broker's connection brings for its groups, and loses.

use super::queue::{Key, Queue};
use super::{Engine, Fetch, News, Stands};
use crate::id::GroupId;
use crate::names::Name;
use crate::store::{Answer, OpenFrom, Run};
use crate::wire::FrameBatch;
use alloc::vec::Vec;

impl Engine {
    /// Opens a group, which gets those partitions whose bit is set; of a single one, that.
    pub fn open(&mut self, group: GroupId, partitions: u64) -> Option<Answer> {
        if !self.is_reachable {
            return None;
        }
        let next = *self.numbers.entry(group).or_insert(1);
        let opening = self.groups.get_mut(&group)?;
        if opening.stands != Stands::Wanted {
            return None;
        }
        (opening.stands, opening.told) = (Stands::Open, next - 1);
        let (key, is_own) = (opening.key.clone(), matches!(opening.key, Key::Own(_)));
        // One of a consumer's own that was lost begins anew.
        self.make(&key, OpenFrom::New);
        if let Some(queue) = self.queues.get_mut(&key) {
            let all = is_own || self.profile.partitions == 1;
            queue.assign(if all { u64::MAX } else { partitions });
        }
        Some(Answer::GroupOpened { group, next })
    }

    /// Delivers up to so many messages to a group that is open, from this partition on, and does not say so yet.
    pub fn deliver(&mut self, group: GroupId, messages: usize, partition: usize) {
        let Some(opening) = self.groups.get_mut(&group) else {
            return;
        };
        if opening.stands != Stands::Open {
            return;
        }
        let room = opening.most.saturating_sub(opening.has.len());
        let Some(queue) = self.queues.get_mut(&opening.key) else {
            return;
        };
        let next = self.numbers.entry(group).or_insert(1);
        for _ in 0..messages.min(room) {
            let Some((place, entry)) = queue.deliver(partition) else {
                return;
            };
            let sequence = *next;
            *next += 1;
            let message = Run {
                first: sequence,
                published: entry.published,
                batch: entry.message.clone(),
                origin: entry.origin.clone(),
                attempts: if self.profile.counts_deliveries {
                    entry.deliveries
                } else {
                    0
                },
            };
            opening.has.insert(sequence, (message.clone(), place));
            self.news.push(News::Delivered {
                group,
                sequence,
                copy: place.copy,
                message,
            });
        }
    }

    /// Says what has been delivered to a group.
    pub fn tell(&mut self, group: GroupId) -> Option<Answer> {
        let opening = self.groups.get_mut(&group)?;
        let up_to = self.numbers.get(&group)? - 1;
        if opening.stands != Stands::Open || opening.told == up_to {
            return None;
        }
        opening.told = up_to;
        Some(Answer::Arrived { group, up_to })
    }

    /// Says what was on its way when a group was lost.
    pub fn tell_late(&mut self) -> Option<Answer> {
        self.late.pop_front()
    }

    /// Answers the request to read with this number, counted from those that came first. None if there is no such
    /// request.
    pub fn fetch(&mut self, number: usize) -> Option<Answer> {
        if number >= self.fetches.len() {
            return None;
        }
        let fetch = self.fetches.remove(number);
        self.take_own(&fetch);
        Some(match fetch.stale {
            Some(answer) => answer,
            None => self.read(&fetch),
        })
    }

    /// The same, and it cannot be read.
    pub fn fail_to_fetch(&mut self, number: usize) -> Option<Answer> {
        if number >= self.fetches.len() {
            return None;
        }
        let Fetch { group, .. } = self.fetches.remove(number);
        Some(Answer::NotFetched { group })
    }

    /// A group of one's own settles nothing: what the broker has fetched is its own.
    fn take_own(&mut self, fetch: &Fetch) {
        let Some(opening) = self.groups.get_mut(&fetch.group) else {
            return;
        };
        if let (Key::Own(_), None) = (&opening.key, &fetch.stale) {
            let rest = opening.has.split_off(&fetch.from);
            let taken = core::mem::replace(&mut opening.has, rest);
            if let Some(queue) = self.queues.get_mut(&opening.key) {
                for (_, place) in taken.into_values() {
                    queue.settle(place, self.profile);
                }
            }
        }
    }

    fn read(&self, fetch: &Fetch) -> Answer {
        let (group, from) = (fetch.group, fetch.from);
        let mut runs: Vec<Run> = Vec::new();
        let opening = self.groups.get(&group);
        let told = opening.map_or(0, |it| it.told);
        let (mut next, mut read) = (from, 0);
        let has = opening.map(|it| it.has.range(from..));
        for (sequence, (message, _)) in has.into_iter().flatten() {
            // What it was not told of is not there yet.
            if read >= fetch.bytes || *sequence > told {
                break;
            }
            read += message.batch.byte_len();
            next = sequence + 1;
            match runs.last_mut() {
                Some(last) if goes_on(last, message) => {
                    let bodies = last.batch.bodies().chain(message.batch.bodies());
                    let bodies: Vec<_> = bodies.collect();
                    last.batch = FrameBatch::encode(bodies).expect("each is a message");
                }
                Some(_) | None => runs.push(message.clone()),
            }
        }
        Answer::Fetched { group, runs, next }
    }

    pub(super) fn close(&mut self, group: GroupId) {
        self.make_stale(group);
        if let Some(opening) = self.groups.remove(&group) {
            self.take_back(&opening.key);
            if let Key::Own(_) = opening.key {
                self.queues.remove(&opening.key);
            }
        }
    }

    fn take_back(&mut self, key: &Key) {
        if let Some(queue) = self.queues.get_mut(key) {
            queue.take_back(self.profile);
        }
    }

    /// What this group has asked for is answered as it would have been, or not at all.
    fn make_stale(&mut self, group: GroupId) {
        let fetches = core::mem::take(&mut self.fetches);
        for mut fetch in fetches {
            if fetch.group == group && fetch.stale.is_none() {
                fetch.stale = Some(self.read(&fetch));
            }
            self.fetches.push(fetch);
        }
    }

    /// A group is lost: its channel was closed, or others share its partitions anew. Returns what the broker is told.
    pub fn lose_group(&mut self, group: GroupId) -> Option<Answer> {
        let untold = self.tell(group);
        self.late.extend(untold);
        let stands = self.groups.get(&group)?.stands;
        if stands == Stands::Wanted {
            return None;
        }
        self.make_stale(group);
        self.news.push(News::Lost(group));
        let opening = self.groups.get_mut(&group)?;
        if stands == Stands::Open {
            opening.stands = Stands::Wanted;
        }
        opening.has.clear();
        let key = opening.key.clone();
        match key {
            // What others publish meanwhile it misses.
            Key::Own(_) => {
                self.queues.remove(&key);
            }
            Key::Named(_) => self.take_back(&key),
        }
        (stands == Stands::Open).then_some(Answer::GroupLost { group })
    }

    /// Another broker is delivered up to so many messages of a group, of those that this broker may not have or has not
    /// been delivered.
    pub fn deliver_elsewhere(&mut self, queue: usize, messages: usize) {
        let exclusive = self.profile.has_partitions();
        if let Some((_, queue)) = self.lasting(queue) {
            queue.deliver_elsewhere(messages, exclusive);
        }
    }

    /// Another broker has settled what it was delivered; or it is gone, and all of that is for others.
    pub fn end_elsewhere(&mut self, queue: usize, is_settled: bool) {
        let Some((name, queue)) = self.lasting(queue) else {
            return;
        };
        let settled = queue.end_elsewhere(is_settled);
        if !settled.is_empty() {
            self.news.push(News::SettledElsewhere(name, settled));
        }
    }

    /// A lasting group, by any number.
    fn lasting(&mut self, number: usize) -> Option<(Name, &mut Queue)> {
        let mut lasting: Vec<(Name, &mut Queue)> = Vec::new();
        for (key, queue) in &mut self.queues {
            if let Key::Named(name) = key {
                lasting.push((name.clone(), queue));
            }
        }
        let count = lasting.len().max(1);
        lasting.into_iter().nth(number % count)
    }

    /// The other brokers are gone. Returns the groups that are to be opened again, with all partitions.
    pub fn others_end(&mut self) -> Vec<GroupId> {
        for number in 0..self.queues.len() {
            self.end_elsewhere(number, false);
        }
        let groups = self.groups.iter();
        let part = groups.filter(|(_, it)| {
            let queue = self.queues.get(&it.key);
            it.stands == Stands::Open && queue.is_some_and(|queue| !queue.is_all_assigned())
        });
        part.map(|(id, _)| *id).collect()
    }
}

/// Whether a message belongs to a run, as its next.
fn goes_on(run: &Run, next: &Run) -> bool {
    let is_alone = run.origin.is_some() || next.origin.is_some();
    let follows = run.first + run.batch.messages() as u64 == next.first;
    let is_alike = (run.published, run.attempts) == (next.published, next.attempts);
    follows && is_alike && !is_alone
}
