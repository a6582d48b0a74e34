//! What a log was told and what it has promised: what has to be there, and what may be.

use super::{Fsync, Mark, Progress, Recovered, SaveId, Stored};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

/// A message that was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    published: u64,
    body: Bytes,
    /// Of the record that it is the last of.
    marks: Vec<Mark>,
}

/// An account in plain vectors.
#[derive(Clone, Debug)]
pub(super) struct Model {
    /// By sequence, from 1; none where a power cut has taken it.
    messages: Vec<Option<Message>>,
    /// What was reported as appended.
    pub(super) appended: u64,
    /// Below this, messages may be gone; below the second they are.
    pub(super) trimming: u64,
    pub(super) trimmed: u64,
    /// Every state that a group was saved in, and with which number.
    groups: BTreeMap<String, Vec<(SaveId, Option<Progress>)>>,
    saved: SaveId,
}

impl Model {
    /// Of a log that there is not yet.
    pub(super) const fn new() -> Self {
        Self {
            messages: Vec::new(),
            appended: 0,
            trimming: 0,
            trimmed: 0,
            groups: BTreeMap::new(),
            saved: SaveId(0),
        }
    }

    /// The sequence of the last message.
    pub(super) fn last(&self) -> u64 {
        self.messages.len() as u64
    }

    pub(super) fn append(&mut self, published: u64, bodies: Vec<Bytes>, marks: Vec<Mark>) {
        let messages = bodies.len();
        for (place, body) in bodies.into_iter().enumerate() {
            let is_last = place + 1 == messages;
            self.messages.push(Some(Message {
                published,
                body,
                marks: if is_last { marks.clone() } else { Vec::new() },
            }));
        }
    }

    pub(super) fn save(&mut self, group: &str, id: SaveId, progress: Option<Progress>) {
        let states = self.groups.entry(group.into()).or_default();
        states.push((id, progress));
    }

    pub(super) fn saved(&mut self, up_to: SaveId) {
        assert!(up_to > self.saved, "news is newer");
        self.saved = up_to;
    }

    pub(super) fn trimmed(&mut self, first: u64) {
        assert!(
            first > self.trimmed && first <= self.trimming,
            "{first} is not above {} and up to {}",
            self.trimmed,
            self.trimming
        );
        self.trimmed = first;
    }

    /// Nothing is known of what was reported.
    pub(super) fn forget_saved(&mut self) {
        self.saved = SaveId(0);
    }

    /// What was read, from the first sequence kept, is what was appended.
    pub(super) fn check_read(&self, mut next: u64, stored: &[Stored]) -> u64 {
        for it in stored {
            match it {
                Stored::Run {
                    first,
                    published,
                    batch,
                    producers,
                    origin: _,
                } => {
                    assert_eq!(*first, next, "no hole");
                    for (place, body) in batch.bodies().enumerate() {
                        let is_last = place + 1 == batch.messages();
                        let marks = if is_last {
                            producers.clone()
                        } else {
                            Vec::new()
                        };
                        let read = Message {
                            published: *published,
                            body,
                            marks,
                        };
                        let appended = &self.messages[(next - 1) as usize];
                        assert_eq!(appended.as_ref(), Some(&read), "message {next}");
                        next += 1;
                    }
                }
                Stored::Gap(range) => {
                    assert_eq!(range.from, next, "no hole");
                    for sequence in range.from..=range.to {
                        assert_eq!(self.messages[(sequence - 1) as usize], None);
                    }
                    next = range.to + 1;
                }
            }
        }
        next
    }

    /// A log was opened after a crash and has found this. The model goes on from there.
    pub(super) fn recovered(&mut self, fsync: Fsync, recovered: &Recovered) {
        let kept = recovered.lost.map_or(recovered.next, |lost| lost.from) - 1;
        assert!(kept <= self.last(), "nothing is invented");
        if fsync == Fsync::Always {
            assert!(
                kept >= self.appended,
                "{kept} of {} are there",
                self.appended
            );
            assert_eq!(recovered.lost, None);
        }
        self.messages.truncate(kept as usize);
        self.messages.resize(recovered.next as usize - 1, None);
        self.appended = kept;

        if recovered.first < recovered.next {
            assert!(recovered.first >= self.trimmed && recovered.first <= self.trimming.max(1));
            self.trimmed = self.trimmed.max(recovered.first);
            self.trimming = self.trimmed;
        }
        self.check_producers(&recovered.producers);
        self.check_groups(fsync, recovered);
    }

    fn check_producers(&self, found: &[Mark]) {
        let mut marks = BTreeMap::new();
        for message in self.messages.iter().flatten() {
            for mark in &message.marks {
                marks.insert(&mark.name, mark);
            }
        }
        assert!(marks.into_values().eq(found), "{found:?}");
    }

    fn check_groups(&mut self, fsync: Fsync, recovered: &Recovered) {
        let mut found: BTreeMap<_, _> = recovered.groups.iter().cloned().collect();
        for (name, states) in &mut self.groups {
            let found = found.remove(name);
            let reported = states.iter().rposition(|(id, _)| *id <= self.saved);
            let may_be = match (reported, fsync) {
                (Some(last), Fsync::Always) => &states[last..],
                _ => &states[..],
            };
            let is_unknown = found.is_none() && (reported.is_none() || fsync != Fsync::Always);
            assert!(
                is_unknown || may_be.iter().any(|(_, state)| *state == found),
                "{name}: {found:?} is none of {may_be:?}"
            );
            *states = [(SaveId(0), found)].into();
        }
        assert!(found.is_empty(), "groups that nobody has made: {found:?}");
        self.saved = SaveId(0);
    }
}
