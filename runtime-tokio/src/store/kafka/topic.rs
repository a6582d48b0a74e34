//! What the core has asked for and is not done, for one topic.

use super::Options;
use super::group::Group;
use super::happened::Opening;
use crate::store::shared::Pieces;
use message_queue_core::GroupId;
use message_queue_core::log::Progress;
use message_queue_core::names::{Name, TopicName};
use message_queue_core::store::{Answer, FetchFrom, OpenFrom, Request};
use std::collections::{BTreeMap, VecDeque};

/// A topic.
pub(super) struct Topic {
    /// Its name in Kafka.
    pub(super) kafka: String,
    /// The key of its records, if they have one.
    pub(super) key: Option<String>,
    pub(super) is_there: Step,
    /// What is to be published and is not confirmed.
    pub(super) pieces: Pieces,
    /// Whether Kafka has refused some of that: it is sent again a while later.
    pub(super) is_refused: bool,
    /// Changes of groups that are not made, in order.
    changes: VecDeque<Change>,
    /// Lasting groups.
    pub(super) lasting: BTreeMap<Name, Lasting>,
    /// Groups that the core wants open.
    pub(super) groups: BTreeMap<GroupId, Group>,
    /// Where the sequences of a group go on that is not open: they never come twice.
    ended: BTreeMap<GroupId, u64>,
}

/// A group with a name.
pub(super) struct Lasting {
    /// Where it begins if Kafka does not know it.
    pub(super) from: OpenFrom,
    /// Whether that is committed.
    pub(super) is_made: Step,
}

/// Something that is done once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Wanted,
    UnderWay,
    Done,
}

impl Step {
    pub(super) const fn ended(is_done: bool) -> Self {
        if is_done { Self::Done } else { Self::Wanted }
    }
}

/// A change of a group.
struct Change {
    number: u64,
    group: Name,
    state: ChangeState,
}

enum ChangeState {
    Wanted(Progress),
    /// It is done when this opening of the group has committed so much.
    Settled(GroupId, u64, u64),
    Done,
}

impl Topic {
    pub(super) fn new(name: &TopicName, options: &Options) -> Self {
        let keys = options.keys.as_ref();
        Self {
            kafka: format!("{}{name}", options.prefix),
            key: keys.and_then(|it| it.remaining(name)),
            is_there: Step::Wanted,
            pieces: Pieces::default(),
            is_refused: false,
            changes: VecDeque::new(),
            lasting: BTreeMap::new(),
            groups: BTreeMap::new(),
            ended: BTreeMap::new(),
        }
    }

    /// The name of a group in Kafka.
    pub(super) fn kafka_group(&self, group: &Name) -> String {
        format!("{}/{group}", self.kafka)
    }

    /// Takes what the core asks for, but for a fetch, which is answered at once.
    pub(super) fn ask(&mut self, request: Request, number: u64) -> Option<Answer> {
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
                self.make_lasting(group.clone(), OpenFrom::New);
                self.change(change, group, ChangeState::Wanted(progress));
            }
            // Other brokers may need it.
            Request::RemoveGroup { change, group } => {
                self.lasting.remove(&group);
                self.change(change, group, ChangeState::Done);
            }
            Request::OpenGroup {
                group,
                name,
                most,
                from,
            } => {
                if let Some(name) = &name {
                    self.make_lasting(name.clone(), from);
                }
                let next = self.ended.remove(&group).unwrap_or(1);
                let group_of_it = Group::new(name, number, most, next, from);
                self.groups.insert(group, group_of_it);
            }
            Request::Fetch { group, from, bytes } => {
                return Some(match (self.groups.get_mut(&group), from) {
                    (Some(it), FetchFrom::Sequence(from)) if it.is_open() => {
                        it.window.fetch(group, from, bytes)
                    }
                    _ => Answer::NotFetched { group },
                });
            }
            Request::CloseGroup { .. } | Request::Open { .. } | Request::Change(_) => {}
        }
        None
    }

    /// A lasting group is wanted, which begins there if it is new.
    fn make_lasting(&mut self, name: Name, from: OpenFrom) {
        let is_made = Step::Wanted;
        let lasting = self.lasting.entry(name);
        lasting.or_insert(Lasting { from, is_made });
    }

    fn change(&mut self, number: u64, group: Name, state: ChangeState) {
        self.changes.push_back(Change {
            number,
            group,
            state,
        });
    }

    /// A group is not wanted any more.
    pub(super) fn close(&mut self, id: GroupId) -> Option<Group> {
        let group = self.groups.remove(&id)?;
        if id.is_lasting() {
            self.ended.insert(id, group.window.next);
        }
        Some(group)
    }

    /// The group of an opening, unless that is over.
    pub(super) fn opening(&mut self, opening: Opening) -> Option<&mut Group> {
        let group = self.groups.get_mut(&opening.group)?;
        (group.number == opening.number).then_some(group)
    }

    /// Makes changes of groups so far as they can be made now. Returns up to which all are.
    pub(super) fn make_changes(&mut self) -> Option<Answer> {
        for change in &mut self.changes {
            if let ChangeState::Wanted(progress) = &change.state {
                if self
                    .lasting
                    .get(&change.group)
                    .is_some_and(|it| it.is_made != Step::Done)
                {
                    continue;
                }
                let mut groups = self.groups.iter_mut();
                let open = groups.find(|(_, it)| it.name.as_ref() == Some(&change.group));
                change.state = match open {
                    Some((id, group)) if group.is_open() => {
                        group.window.settle(progress);
                        group.settled += 1;
                        ChangeState::Settled(*id, group.number, group.settled)
                    }
                    // What it had settled comes again: that was said when it was lost.
                    _ => ChangeState::Done,
                };
            }
            if let ChangeState::Settled(id, number, settled) = change.state {
                let group = self.groups.get(&id).filter(|it| it.number == number);
                if group.is_none_or(|it| !it.is_open() || it.committed >= settled) {
                    change.state = ChangeState::Done;
                }
            }
        }
        let mut up_to = None;
        while let Some(change) = self
            .changes
            .pop_front_if(|it| matches!(it.state, ChangeState::Done))
        {
            up_to = Some(change.number);
        }
        up_to.map(|up_to| Answer::GroupSaved { up_to })
    }

    /// Whether something waits to be sent.
    pub(super) fn is_waiting(&mut self) -> bool {
        !self.is_refused && self.pieces.waiting().next().is_some()
    }

    /// Whether all that was asked for is done.
    pub(super) fn is_done(&self) -> bool {
        self.pieces.is_empty() && self.changes.is_empty()
    }
}
