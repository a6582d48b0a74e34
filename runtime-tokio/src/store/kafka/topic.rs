//! What the core has asked for and is not done, for one topic.

use super::consumer::Consumer;
use super::happened::Opening;
use super::window::Window;
use crate::store::clock::{elapsed, moment};
use crate::store::shared::Pieces;
use message_queue_core::GroupId;
use message_queue_core::log::Progress;
use message_queue_core::names::{Name, TopicName};
use message_queue_core::store::{Answer, FetchFrom, OpenFrom, Request};
use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::time::{Duration, Instant};

/// A group that is full for so long has nothing more fetched. A shorter pause would cost more than it saves: librdkafka
/// drops what it has, and fetches it again.
const PAUSE_AFTER: Duration = Duration::from_secs(1);

/// A topic.
pub(super) struct Topic {
    /// Its name in Kafka.
    pub(super) kafka: String,
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

/// A group that the core wants open.
pub(super) struct Group {
    pub(super) name: Option<Name>,
    /// Where it begins, if it is one of a consumer's own.
    pub(super) from: OpenFrom,
    /// Its number is another one each time it is opened.
    pub(super) number: u64,
    pub(super) state: State,
    pub(super) window: Window,
    /// How often something was settled, up to which of that it is committed, and whether a commit is under way.
    settled: u64,
    committed: u64,
    pub(super) is_committing: bool,
    full_since: Option<Instant>,
    is_paused: bool,
}

/// What is done to open it.
pub(super) enum State {
    Wanted,
    /// It is asked where a group of one's own begins.
    Finding,
    /// It waits for partitions.
    Joining(Consumer),
    /// It has got partitions, and it is asked how far the group had got in them; `is_asked`: that is under way.
    Positioning {
        consumer: Consumer,
        partitions: Vec<i32>,
        assignment: u64,
        is_asked: bool,
    },
    Open(Consumer),
}

impl Topic {
    pub(super) fn new(name: &TopicName, prefix: &str) -> Self {
        Self {
            kafka: format!("{prefix}{name}"),
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

    /// Whether it is committed where all of them begin.
    pub(super) fn are_all_made(&self) -> bool {
        let mut lasting = self.lasting.values();
        lasting.all(|it| it.is_made == Step::Done)
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

impl Group {
    fn new(name: Option<Name>, number: u64, most: usize, next: u64, from: OpenFrom) -> Self {
        let is_tracked = name.is_some();
        Self {
            name,
            from,
            number,
            state: State::Wanted,
            window: Window::new(next, most, is_tracked),
            settled: 0,
            committed: 0,
            is_committing: false,
            full_since: None,
            is_paused: false,
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Its consumer, if it has one that reads.
    pub(super) const fn consumer(&self) -> Option<&Consumer> {
        match &self.state {
            State::Wanted | State::Finding => None,
            State::Joining(consumer) | State::Open(consumer) => Some(consumer),
            State::Positioning { consumer, .. } => Some(consumer),
        }
    }

    /// Its consumer, which it has no more.
    pub(super) fn take_consumer(&mut self) -> Option<Consumer> {
        match mem::replace(&mut self.state, State::Wanted) {
            State::Wanted | State::Finding => None,
            State::Joining(consumer) | State::Open(consumer) => Some(consumer),
            State::Positioning { consumer, .. } => Some(consumer),
        }
    }

    /// Its partitions are gone, or others are to come.
    pub(super) fn lose(&mut self, id: GroupId) -> Option<Answer> {
        let was_open = self.is_open();
        self.window.clear();
        (self.full_since, self.is_paused) = (None, false);
        // What was settled is committed, or comes again.
        self.committed = self.settled;
        if let Some(consumer) = self.take_consumer() {
            self.state = State::Joining(consumer);
        }
        was_open.then_some(Answer::GroupLost { group: id })
    }

    /// What there is to commit, and up to where that is settled; one commit is under way at a time.
    pub(super) fn take_commit(
        &mut self,
    ) -> Option<(Consumer, u64, Vec<super::consumer::Position>)> {
        let State::Open(consumer) = &self.state else {
            return None;
        };
        if self.is_committing || self.committed == self.settled {
            return None;
        }
        let positions = self.window.take_commits(false);
        if positions.is_empty() {
            self.committed = self.settled;
            return None;
        }
        self.is_committing = true;
        Some((consumer.clone(), self.settled, positions))
    }

    /// All up to there is committed.
    pub(super) fn committed(&mut self, up_to: u64) {
        self.committed = self.committed.max(up_to);
    }

    /// Whether more may be read now. One that is full is paused a while later.
    pub(super) fn may_read(&mut self) -> bool {
        let State::Open(consumer) = &self.state else {
            // It waits for its partitions, and hears of them by reading.
            return matches!(self.state, State::Joining(_));
        };
        if !self.window.is_full() {
            self.full_since = None;
            if mem::take(&mut self.is_paused) {
                consumer.pause(self.window.partitions(), false);
            }
            return true;
        }
        let since = *self.full_since.get_or_insert_with(moment);
        if !self.is_paused && elapsed(since) >= PAUSE_AFTER {
            consumer.pause(self.window.partitions(), true);
            self.is_paused = true;
        }
        // Nothing comes but word of another assignment.
        self.is_paused
    }
}
