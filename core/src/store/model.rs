//! A store in memory that does what it is asked when it is told to, in any order that a store is allowed. For tests and
//! simulations: its *crash* forgets what was not safe.

use super::{Answer, FetchFrom, Request, Run, StoredTopic};
use crate::id::GroupId;
use crate::log::Progress;
use crate::names::{Name, TopicName};
use crate::wire::control::Mark;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

/// The store of one topic.
#[derive(Clone, Debug)]
pub struct Model {
    name: TopicName,
    epoch: u64,
    first: u64,
    /// What was appended, and is safe.
    safe: Vec<(Run, Vec<Mark>)>,
    groups: BTreeMap<Name, Progress>,
    producers: BTreeMap<alloc::string::String, Mark>,
    /// What is to be appended, saved and read, first asked first.
    appends: VecDeque<(Run, Vec<Mark>)>,
    saves: VecDeque<Save>,
    fetches: Vec<(GroupId, FetchFrom, usize)>,
}

/// A change that is to be saved: how far a group has got; none: it is to be forgotten.
#[derive(Clone, Debug)]
struct Save {
    change: u64,
    group: Name,
    progress: Option<Progress>,
}

impl Model {
    /// An empty store.
    pub const fn new(name: TopicName, epoch: u64) -> Self {
        Self {
            name,
            epoch,
            first: 1,
            safe: Vec::new(),
            groups: BTreeMap::new(),
            producers: BTreeMap::new(),
            appends: VecDeque::new(),
            saves: VecDeque::new(),
            fetches: Vec::new(),
        }
    }

    /// The topic.
    pub const fn name(&self) -> &TopicName {
        &self.name
    }

    /// Takes a request.
    pub fn ask(&mut self, request: Request) {
        match request {
            Request::Append {
                first,
                published,
                batch,
                producers,
                origin,
            } => {
                let run = Run {
                    first,
                    published,
                    batch,
                    origin,
                    attempts: 0,
                };
                self.appends.push_back((run, producers));
            }
            Request::Fetch { group, from, bytes } => self.fetches.push((group, from, bytes)),
            Request::SaveGroup {
                change,
                group,
                progress,
            } => self.saves.push_back(Save {
                change,
                group,
                progress: Some(progress),
            }),
            Request::RemoveGroup { change, group } => self.saves.push_back(Save {
                change,
                group,
                progress: None,
            }),
            Request::Open { .. }
            | Request::Change(_)
            | Request::OpenGroup { .. }
            | Request::CloseGroup { .. } => {}
        }
    }

    /// How many pieces are to be appended.
    pub fn appends(&self) -> usize {
        self.appends.len()
    }

    /// How many changes are to be saved.
    pub fn saves(&self) -> usize {
        self.saves.len()
    }

    /// How many groups wait for what they asked for.
    pub const fn fetches(&self) -> usize {
        self.fetches.len()
    }

    /// The sequence of the next message that is not safe.
    pub fn next(&self) -> u64 {
        let last = self.safe.last();
        last.map_or(self.first, |(run, _)| {
            run.first + run.batch.messages() as u64
        })
    }

    /// What is safe and kept, in order.
    pub fn safe(&self) -> impl Iterator<Item = &Run> {
        self.safe.iter().map(|(run, _)| run)
    }

    /// Appends the first `pieces` of what is to be, which are then safe. None if there is nothing.
    pub fn append(&mut self, pieces: usize) -> Option<Answer> {
        let pieces = pieces.min(self.appends.len());
        for (run, marks) in self.appends.drain(..pieces) {
            for mark in &marks {
                self.producers.insert(mark.name.clone(), mark.clone());
            }
            self.safe.push((run, marks));
        }
        (pieces > 0).then(|| Answer::appended(self.next() - 1))
    }

    /// Saves the first `changes` of what is to be. None if there is nothing.
    pub fn save(&mut self, changes: usize) -> Option<Answer> {
        let changes = changes.min(self.saves.len());
        let mut up_to = None;
        for save in self.saves.drain(..changes) {
            up_to = Some(save.change);
            match save.progress {
                Some(progress) => self.groups.insert(save.group, progress),
                None => self.groups.remove(&save.group),
            };
        }
        up_to.map(|up_to| Answer::GroupSaved { up_to })
    }

    /// Answers the request to read with this number, below [`fetches`](Self::fetches), counted from those that came
    /// first. None if there is no such request.
    pub fn fetch(&mut self, number: usize) -> Option<Answer> {
        if number >= self.fetches.len() {
            return None;
        }
        let (group, from, bytes) = self.fetches.remove(number);
        let next = self.next();
        let begins = match from {
            FetchFrom::Sequence(sequence) => sequence.max(self.first),
            FetchFrom::Time(time) => {
                let mut runs = self.safe.iter().map(|(run, _)| run);
                runs.find(|run| run.published >= time)
                    .map_or(next, |run| run.first.max(self.first))
            }
        };
        let mut runs: Vec<Run> = Vec::new();
        let (mut read, mut end) = (0, begins);
        for (run, _) in &self.safe {
            let after = run.first + run.batch.messages() as u64;
            if after <= begins {
                continue;
            }
            if read >= bytes {
                break;
            }
            let mut run = run.clone();
            let before = begins.saturating_sub(run.first);
            run.batch.split_to(before as usize);
            run.first += before;
            read += run.batch.byte_len();
            end = after;
            runs.push(run);
        }
        let next = end.max(begins);
        Some(Answer::Fetched { group, runs, next })
    }

    /// The same, and it cannot be read.
    pub fn fail_to_fetch(&mut self, number: usize) -> Option<Answer> {
        if number >= self.fetches.len() {
            return None;
        }
        let (group, ..) = self.fetches.remove(number);
        Some(Answer::NotFetched { group })
    }

    /// Keeps nothing before this sequence any more.
    pub fn trim(&mut self, first: u64) -> Answer {
        self.first = self.first.max(first.min(self.next()));
        let first = self.first;
        self.safe
            .retain(|(run, _)| run.first + run.batch.messages() as u64 > first);
        Answer::Trimmed { first }
    }

    /// The power goes. Of what was to be appended and saved some of the first may be safe all the same: at most so
    /// many. Returns what is found.
    pub fn crash(&mut self, pieces: usize, changes: usize) -> StoredTopic {
        self.append(pieces);
        self.save(changes);
        self.appends.clear();
        self.saves.clear();
        self.fetches.clear();
        StoredTopic {
            name: self.name.clone(),
            epoch: self.epoch,
            first: self.first,
            next: self.next(),
            published: self.safe.last().map_or(0, |(run, _)| run.published),
            groups: self.groups.clone().into_iter().collect(),
            producers: self.producers.values().cloned().collect(),
        }
    }
}
