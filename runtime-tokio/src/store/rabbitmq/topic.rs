//! What the core has asked for and is not done, for one topic. Nothing here knows of a connection.

use super::message::{Delivered, runs};
use crate::store::shared::Pieces;
use message_queue_core::GroupId;
use message_queue_core::log::Progress;
use message_queue_core::names::{Name, TopicName};
use message_queue_core::store::{Answer, FetchFrom, Request};
use std::collections::{BTreeMap, VecDeque};

/// A topic.
pub(super) struct Topic {
    pub(super) name: TopicName,
    /// What is to be published and is not confirmed, in order.
    pub(super) pieces: Pieces,
    /// Changes of groups that are not made, in order.
    pub(super) changes: VecDeque<Change>,
    /// Groups that are to be found again, whether they are open or not: each has a queue.
    pub(super) lasting: Vec<Name>,
    /// Groups that the core wants open.
    pub(super) groups: BTreeMap<GroupId, Group>,
    /// Where the sequences of a group go on that is not open: they never come twice.
    ended: BTreeMap<GroupId, u64>,
}

/// A change of a group.
pub(super) struct Change {
    pub(super) number: u64,
    /// What was settled in which group; none: a group is removed. Other brokers may need its queue.
    pub(super) settled: Option<(Name, Progress)>,
    pub(super) state: ChangeState,
}

/// How far a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChangeState {
    Wanted,
    /// RabbitMQ was told by this connection.
    Told(u64),
    Made,
}

impl Change {
    const fn new(number: u64, settled: Option<(Name, Progress)>) -> Self {
        Self {
            number,
            settled,
            state: ChangeState::Wanted,
        }
    }
}

/// A group that the core wants open.
pub(super) struct Group {
    pub(super) name: Option<Name>,
    /// The most messages that RabbitMQ may deliver before some are settled.
    pub(super) most: u16,
    /// The sequence of the next message that comes.
    pub(super) next: u64,
    /// By which consumer it is open, if it is: one of another number is an old one.
    pub(super) open: Option<u64>,
    /// By which it is being opened, if it is.
    pub(super) opening: Option<u64>,
    /// What has come and is not known to be in the core's window, from this sequence on.
    first: u64,
    waiting: VecDeque<Delivered>,
    /// What the core was sent ends before this. It may have taken a part of it, and ask for the rest again.
    sent: u64,
    /// What is not settled: the delivery tag of each sequence.
    pub(super) tags: BTreeMap<u64, u64>,
    /// Up to where the core was told.
    told: u64,
}

impl Topic {
    pub(super) fn new(name: TopicName) -> Self {
        Self {
            name,
            pieces: Pieces::default(),
            changes: VecDeque::new(),
            lasting: Vec::new(),
            groups: BTreeMap::new(),
            ended: BTreeMap::new(),
        }
    }

    /// Takes what the core asks for, but for a fetch, which is answered at once.
    pub(super) fn ask(&mut self, request: Request) -> Option<Answer> {
        match request {
            Request::Append {
                first,
                published,
                batch,
                origin,
                producers: _,
            } => self.pieces.push(first, published, batch, origin),
            Request::SaveGroup {
                change,
                group,
                progress,
            } => {
                if !self.lasting.contains(&group) {
                    self.lasting.push(group.clone());
                }
                self.changes
                    .push_back(Change::new(change, Some((group, progress))));
            }
            Request::RemoveGroup { change, group } => {
                self.lasting.retain(|it| *it != group);
                self.changes.push_back(Change::new(change, None));
            }
            // It has no history, and is asked for none.
            Request::OpenGroup {
                group,
                name,
                most,
                from: _,
            } => {
                let next = self.ended.remove(&group).unwrap_or(1);
                self.groups.insert(group, Group::new(name, most, next));
            }
            Request::Fetch { group, from, bytes } => {
                return Some(match (self.groups.get_mut(&group), from) {
                    (Some(it), FetchFrom::Sequence(from)) if it.open.is_some() => {
                        it.fetch(group, from, bytes)
                    }
                    _ => Answer::NotFetched { group },
                });
            }
            // A group is closed where the connection is.
            Request::CloseGroup { .. } | Request::Open { .. } | Request::Change(_) => {}
        }
        None
    }

    /// RabbitMQ has, or has not, heard of a change that it was told by this connection.
    pub(super) fn heard(&mut self, change: u64, connection: u64, is_heard: bool) {
        let told = ChangeState::Told(connection);
        let mut changes = self.changes.iter_mut();
        if let Some(change) = changes.find(|it| it.number == change && it.state == told) {
            change.state = if is_heard {
                ChangeState::Made
            } else {
                ChangeState::Wanted
            };
        }
    }

    /// How far all changes are made, if that is further than before.
    pub(super) fn saved(&mut self) -> Option<Answer> {
        let mut up_to = None;
        while let Some(change) = self
            .changes
            .pop_front_if(|it| it.state == ChangeState::Made)
        {
            up_to = Some(change.number);
        }
        up_to.map(|up_to| Answer::GroupSaved { up_to })
    }

    /// A group is not wanted any more.
    pub(super) fn close(&mut self, id: GroupId) -> Option<Group> {
        let group = self.groups.remove(&id)?;
        if id.is_lasting() {
            self.ended.insert(id, group.next);
        }
        Some(group)
    }

    /// The connection is lost: what was under way is to be done again, and what has come comes again.
    pub(super) fn lose_connection(&mut self) -> Vec<Answer> {
        self.pieces.lose_connection();
        for change in &mut self.changes {
            if let ChangeState::Told(_) = change.state {
                change.state = ChangeState::Wanted;
            }
        }
        let lost = self.groups.iter_mut();
        lost.filter_map(|(id, group)| group.lose(*id)).collect()
    }
}

impl Group {
    fn new(name: Option<Name>, most: usize, next: u64) -> Self {
        /// More are not faster, and each may be a large message.
        const MOST: usize = 1_000;
        let most = u16::try_from(most.clamp(1, MOST)).unwrap_or(u16::MAX);
        Self {
            name,
            most,
            next,
            open: None,
            opening: None,
            first: next,
            sent: next,
            waiting: VecDeque::new(),
            tags: BTreeMap::new(),
            told: next - 1,
        }
    }

    pub(super) const fn is_open_or_opening(&self) -> bool {
        self.open.is_some() || self.opening.is_some()
    }

    /// Whether this consumer has it open, or opens it.
    pub(super) fn is_by(&self, consumer: u64) -> bool {
        self.open == Some(consumer) || self.opening == Some(consumer)
    }

    /// It is open by this consumer.
    pub(super) fn opened(&mut self, group: GroupId, consumer: u64) -> Answer {
        self.opening = None;
        self.open = Some(consumer);
        (self.first, self.sent) = (self.next, self.next);
        self.told = self.next - 1;
        Answer::GroupOpened {
            group,
            next: self.next,
        }
    }

    /// It is open no more.
    pub(super) fn lose(&mut self, group: GroupId) -> Option<Answer> {
        self.opening = None;
        self.open.take()?;
        self.waiting.clear();
        self.tags.clear();
        Some(Answer::GroupLost { group })
    }

    pub(super) fn take_delivery(&mut self, tag: u64, delivered: Delivered) {
        self.tags.insert(self.next, tag);
        self.waiting.push_back(delivered);
        self.next += 1;
    }

    /// What has come since the core was told last.
    pub(super) fn arrived(&mut self, group: GroupId) -> Option<Answer> {
        let up_to = self.next - 1;
        if self.open.is_none() || self.told == up_to {
            return None;
        }
        self.told = up_to;
        Some(Answer::Arrived { group, up_to })
    }

    /// The core has all before this sequence.
    fn fetch(&mut self, group: GroupId, from: u64, bytes: usize) -> Answer {
        while self.first < from && self.waiting.pop_front().is_some() {
            self.first += 1;
        }
        let (mut read, mut messages) = (0, 0);
        for message in &self.waiting {
            if messages > 0 && read >= bytes {
                break;
            }
            read += message.body.len() + 4;
            messages += 1;
        }
        let runs = runs(self.first, self.waiting.iter().take(messages));
        let next = self.first + messages as u64;
        self.sent = self.sent.max(next);
        Answer::Fetched { group, runs, next }
    }

    /// Up to which tag a group that settles nothing is done with RabbitMQ: all that the core was sent. What it has not
    /// taken of that waits here. If it had to be asked for what comes behind it first, nothing would come where that is
    /// all that RabbitMQ delivers.
    pub(super) fn taken(&mut self) -> Option<u64> {
        let rest = self.tags.split_off(&self.sent);
        let taken = std::mem::replace(&mut self.tags, rest);
        taken.into_values().next_back()
    }

    /// What a group has settled by now: the tag up to which everything is, and others.
    pub(super) fn settle(&mut self, progress: &Progress) -> (Option<u64>, Vec<u64>) {
        let rest = self.tags.split_off(&(progress.settled_up_to + 1));
        let up_to = std::mem::replace(&mut self.tags, rest);
        let mut others = Vec::new();
        for range in &progress.settled {
            while let Some((&sequence, &tag)) = self.tags.range(range.from..=range.to).next() {
                self.tags.remove(&sequence);
                others.push(tag);
            }
        }
        (up_to.into_values().next_back(), others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapin::BasicProperties;
    use message_queue_core::ConnId;

    /// Found by two brokers with a capacity of 10: a consumer with a group of its own got nothing more.
    #[test]
    fn a_group_of_ones_own_that_was_sent_all_that_may_come_gets_more() {
        let id = GroupId::Own(ConnId(1));
        let mut group = Group::new(None, 2, 1);
        group.opened(id, 1);
        let deliver = |group: &mut Group, tag: u64| {
            let body = tag.to_string().into_bytes();
            group.take_delivery(tag, Delivered::new(&BasicProperties::default(), body, 0));
        };
        deliver(&mut group, 1);
        deliver(&mut group, 2);
        assert_eq!(group.taken(), None, "the core has nothing of it");
        let both = group.fetch(id, 1, usize::MAX);
        assert!(matches!(&both, Answer::Fetched { next: 3, .. }), "{both:?}");
        assert_eq!(group.taken(), Some(2));
        deliver(&mut group, 3);
        // It had taken one of the two, and asks for the other again.
        let again = group.fetch(id, 2, usize::MAX);
        assert!(
            matches!(&again, Answer::Fetched { runs, next: 4, .. } if runs[0].first == 2),
            "{again:?}"
        );
        assert_eq!(group.taken(), Some(3));
    }
}
