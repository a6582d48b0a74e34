//! An engine that brokers share, in memory: it does what it is asked when it is told to, in any order that its profile
//! allows. For tests and simulations.
//!
//! `queue.rs` is what outlives every connection: the messages of each group, whoever has them. This file is one broker's
//! way to it: what it has asked for. `groups.rs` is what its connection brings for each group, and loses.

mod groups;
mod profile;
mod queue;

pub use profile::Profile;

use super::{Answer, FetchFrom, OpenFrom, Request, Run};
use crate::id::GroupId;
use crate::log::Progress;
use crate::names::{Name, TopicName};
use crate::stats::Count;
use crate::wire::FrameBatch;
use crate::wire::control::Origin;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec;
use alloc::vec::Vec;
use queue::{Entry, Key, Place, Queue};

/// The engine, as far as one topic goes, and one broker's way to it.
#[derive(Clone, Debug)]
pub struct Engine {
    profile: Profile,
    name: TopicName,
    is_reachable: bool,
    queues: BTreeMap<Key, Queue>,
    /// All that was written to each partition; nothing in an engine without a history.
    history: Vec<Vec<Entry>>,
    /// The number of the next piece that is written: it decides on the partition.
    written: u64,
    /// What is to be appended and is not confirmed, first asked first.
    pieces: VecDeque<Piece>,
    /// What is to be done with groups, first asked first.
    changes: VecDeque<Change>,
    fetches: Vec<Fetch>,
    groups: BTreeMap<GroupId, Opening>,
    /// Where the sequences of a group go on.
    numbers: BTreeMap<GroupId, u64>,
    /// What was on its way when a group was lost.
    late: VecDeque<Answer>,
    news: Vec<News>,
}

/// What has happened in the engine.
#[derive(Clone, Debug)]
pub enum News {
    /// Messages have been written; for a dead letter, with where it came from.
    Kept(FrameBatch, Option<Box<Origin>>),
    /// A message was delivered to this broker.
    Delivered {
        /// For this group.
        group: GroupId,
        /// Under this sequence.
        sequence: u64,
        /// What it is in the group, whatever sequences it gets.
        copy: u64,
        /// The message.
        message: Run,
    },
    /// What this broker has settled, by sequences.
    Settled(GroupId, Vec<u64>),
    /// Another broker has settled these messages of a group.
    SettledElsewhere(Name, Vec<FrameBatch>),
    /// What a group had and has not settled is for others: its connection was lost, or its partitions.
    Lost(GroupId),
}

#[derive(Clone, Debug)]
struct Piece {
    last: u64,
    run: Run,
    /// When it is written: what of it came to no group, and is nowhere.
    written: Option<Count>,
}

#[derive(Clone, Debug)]
enum Change {
    Save(u64, Name, Progress),
    Remove(u64),
    Open(GroupId, Key, usize),
    Close(GroupId),
}

#[derive(Clone, Debug)]
struct Fetch {
    group: GroupId,
    from: u64,
    bytes: usize,
    /// Its answer, if the group was lost since it was asked.
    stale: Option<Answer>,
}

/// A group that this broker wants open.
#[derive(Clone, Debug)]
struct Opening {
    key: Key,
    most: usize,
    stands: Stands,
    /// What was delivered and is not settled, and where it is in the queue.
    has: BTreeMap<u64, (Run, Place)>,
    /// Up to where the broker was told.
    told: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    /// It is to be opened.
    Wanted,
    Open,
    /// It is to be closed, when what was asked before is done.
    Closing,
}

impl Engine {
    /// An engine with no group, which can be reached.
    pub fn new(name: TopicName, profile: Profile) -> Self {
        Self {
            profile,
            name,
            is_reachable: true,
            queues: BTreeMap::new(),
            history: vec![Vec::new(); profile.partitions],
            written: 0,
            pieces: VecDeque::new(),
            changes: VecDeque::new(),
            fetches: Vec::new(),
            groups: BTreeMap::new(),
            numbers: BTreeMap::new(),
            late: VecDeque::new(),
            news: Vec::new(),
        }
    }

    /// The topic.
    pub const fn name(&self) -> &TopicName {
        &self.name
    }

    /// Whether the broker reaches it.
    pub const fn is_reachable(&self) -> bool {
        self.is_reachable
    }

    /// What has happened since this was asked last.
    pub fn take_news(&mut self) -> Vec<News> {
        core::mem::take(&mut self.news)
    }

    /// Takes a request.
    pub fn ask(&mut self, request: Request) {
        match request {
            Request::Append {
                first,
                published,
                batch,
                origin,
                producers: _,
            } => self.pieces.push_back(Piece {
                last: first + batch.messages() as u64 - 1,
                run: Run {
                    first,
                    published,
                    batch,
                    origin,
                    attempts: 0,
                },
                written: None,
            }),
            Request::Fetch { group, from, bytes } => {
                let from = match from {
                    FetchFrom::Sequence(sequence) => sequence,
                    FetchFrom::Time(_) => 0,
                };
                self.fetches.push(Fetch {
                    group,
                    from,
                    bytes,
                    stale: None,
                });
            }
            Request::SaveGroup {
                change,
                group,
                progress,
            } => self
                .changes
                .push_back(Change::Save(change, group, progress)),
            Request::RemoveGroup { change, .. } => self.changes.push_back(Change::Remove(change)),
            Request::OpenGroup {
                group,
                name,
                most,
                from,
            } => {
                let key = name.map_or(Key::Own(group), Key::Named);
                // What is appended by a later request comes to the group.
                self.make(&key, from);
                self.changes.push_back(Change::Open(group, key, most));
            }
            Request::CloseGroup { group } => {
                if let Some(opening) = self.groups.get_mut(&group) {
                    opening.stands = Stands::Closing;
                }
                self.changes.push_back(Change::Close(group));
            }
            Request::Open { .. } | Request::Change(_) => {}
        }
    }

    /// Makes a group if there is none: it begins there, as near as its partitions allow.
    fn make(&mut self, key: &Key, from: OpenFrom) {
        if self.queues.contains_key(key) {
            return;
        }
        let mut queue = Queue::new(self.profile.partitions);
        for (partition, entries) in self.history.iter().enumerate() {
            let begin = match from {
                OpenFrom::New => entries.len(),
                OpenFrom::First => 0,
                OpenFrom::Last => entries.len().saturating_sub(1),
                OpenFrom::Time(at) => entries.iter().take_while(|it| it.published < at).count(),
            };
            for entry in &entries[begin..] {
                queue.push(partition, entry.clone());
            }
        }
        self.queues.insert(key.clone(), queue);
    }

    /// How many pieces are to be appended.
    pub fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// How many changes of groups are to be made.
    pub fn changes(&self) -> usize {
        self.changes.len()
    }

    /// How many groups wait for what they asked for.
    pub const fn fetches(&self) -> usize {
        self.fetches.len()
    }

    /// The groups that can be opened now.
    pub fn wanted(&self) -> Vec<GroupId> {
        self.groups_that(Stands::Wanted)
    }

    /// The groups that are open.
    pub fn open_groups(&self) -> Vec<GroupId> {
        self.groups_that(Stands::Open)
    }

    fn groups_that(&self, stands: Stands) -> Vec<GroupId> {
        let groups = self.groups.iter().filter(|(_, it)| it.stands == stands);
        groups.map(|(id, _)| *id).collect()
    }

    /// How many messages of lasting groups nobody has settled.
    pub fn unsettled(&self) -> usize {
        let queues = self.queues.iter();
        let lasting = queues.filter(|(key, _)| matches!(key, Key::Named(_)));
        lasting.map(|(_, queue)| queue.unsettled()).sum()
    }

    /// Writes the piece with this number, counted from those that came first, and does not say so yet.
    pub fn write(&mut self, number: usize) {
        if !self.is_reachable
            || self
                .pieces
                .get(number)
                .is_none_or(|it| it.written.is_some())
        {
            return;
        }
        let run = self.pieces[number].run.clone();
        let is_nowhere = self.queues.is_empty() && !self.profile.has_history;
        let unrouted = if is_nowhere {
            Count::of(&run.batch)
        } else {
            Count::ZERO
        };
        self.pieces[number].written = Some(unrouted);
        self.keep(run);
    }

    /// Confirms what is written, as far as there is no hole, and no further than a piece that came to no group.
    pub fn confirm(&mut self) -> Option<Answer> {
        if !self.is_reachable {
            return None;
        }
        let mut confirmed = None;
        while let Some((up_to, Some(unrouted))) =
            self.pieces.front().map(|it| (it.last, it.written))
        {
            self.pieces.pop_front();
            confirmed = Some(Answer::Appended { up_to, unrouted });
            if !unrouted.is_zero() {
                break;
            }
        }
        confirmed
    }

    /// Another broker, or another client of the engine, publishes.
    pub fn publish(&mut self, batch: FrameBatch, published: u64) {
        self.keep(Run {
            first: 0,
            published,
            batch,
            origin: None,
            attempts: 0,
        });
    }

    fn keep(&mut self, run: Run) {
        let partition = (self.written % self.profile.partitions as u64) as usize;
        self.written += 1;
        let Run {
            published,
            mut batch,
            origin,
            ..
        } = run;
        self.news.push(News::Kept(batch.clone(), origin.clone()));
        while !batch.is_empty() {
            let entry = Entry::new(batch.split_to(1), published, origin.clone());
            for queue in self.queues.values_mut() {
                queue.push(partition, entry.clone());
            }
            if self.profile.has_history {
                self.history[partition].push(entry);
            }
        }
    }

    /// Makes the first change of a group that is to be made.
    pub fn change(&mut self) -> Option<Answer> {
        // What is done with groups is done by the connection.
        if !self.is_reachable {
            return None;
        }
        match self.changes.pop_front()? {
            Change::Save(up_to, name, progress) => {
                let key = Key::Named(name);
                self.make(&key, OpenFrom::New);
                self.settle(&key, &progress);
                Some(Answer::GroupSaved { up_to })
            }
            Change::Remove(up_to) => Some(Answer::GroupSaved { up_to }),
            Change::Open(group, key, most) => {
                let mut later = self.changes.iter();
                let closes = later.any(|it| matches!(it, Change::Close(of) if *of == group));
                let opening = Opening::new(key, most, closes);
                self.groups.insert(group, opening);
                None
            }
            Change::Close(group) => {
                self.close(group);
                None
            }
        }
    }

    fn settle(&mut self, key: &Key, progress: &Progress) {
        let mut groups = self.groups.iter_mut();
        let Some((group, opening)) = groups.find(|(_, it)| it.key == *key) else {
            return;
        };
        let is_settled = |sequence: &u64| {
            let mut above = progress.settled.iter();
            *sequence <= progress.settled_up_to
                || above.any(|it| (it.from..=it.to).contains(sequence))
        };
        let settled: Vec<u64> = opening.has.keys().copied().filter(is_settled).collect();
        if let Some(queue) = self.queues.get_mut(key) {
            for sequence in &settled {
                if let Some((_, place)) = opening.has.remove(sequence) {
                    queue.settle(place, self.profile);
                }
            }
        }
        self.news.push(News::Settled(*group, settled));
    }

    /// The connection is lost. Of each piece that is not confirmed `written` says how many messages have been written
    /// all the same, of so many; all of it is written again. Returns what the broker is told.
    pub fn lose(&mut self, written: &mut dyn FnMut(usize) -> usize) -> Vec<Answer> {
        self.is_reachable = false;
        let mut pieces = core::mem::take(&mut self.pieces);
        for piece in &mut pieces {
            let messages = piece.run.batch.messages();
            let some = written(messages).min(messages);
            if piece.written.take().is_none() && some > 0 {
                let mut run = piece.run.clone();
                run.batch = run.batch.split_to(some);
                self.keep(run);
            }
        }
        self.pieces = pieces;
        let groups: Vec<GroupId> = self.groups.keys().copied().collect();
        let lost = groups.into_iter().filter_map(|it| self.lose_group(it));
        lost.collect()
    }

    /// It can be reached again.
    pub const fn reach(&mut self) {
        self.is_reachable = true;
    }
}

impl Opening {
    const fn new(key: Key, most: usize, closes: bool) -> Self {
        Self {
            key,
            most,
            stands: if closes {
                Stands::Closing
            } else {
                Stands::Wanted
            },
            has: BTreeMap::new(),
            told: 0,
        }
    }
}

#[cfg(test)]
mod tests;
