//! A group of a stored topic: its backlog is a window on what the topic keeps.
//!
//! While the window reaches up to the last message that was appended, what is appended next comes into it from
//! memory (`window.rs`). When it has no room the group is *behind*: nothing is lost, and what it has not had is fetched
//! when there is room (`fetching.rs`). What its members settle is noted and saved (`progress.rs`). A group without members
//! has no window, so it costs no memory however much it is owed.

mod fetching;
mod progress;
mod window;

use super::Group;
use super::ahead::Ahead;
use super::attempts::Attempts;
use super::settled::Settled;
use crate::id::GroupId;
use crate::names::Name;
use crate::stats::Behind;
use crate::store::FetchFrom;
use crate::topic::SHARED_NAME;
use crate::wire::control::Range;
use fetching::Fetch;

/// What a group of a stored topic has to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Source {
    /// Where the window ends.
    pub(super) place: Place,
    /// The last message of the topic that was appended; where the topic is shared, the last of the group that has arrived.
    pub(super) appended: u64,
    /// What it is counted as being behind by.
    counted: u64,
    /// How often that was handed out in this life of the broker which the window comes to once more.
    attempts: Attempts,
    /// How far the group has got; none for a group of one's own, of which nothing is saved.
    pub(super) settled: Option<Settled>,
    /// What it is doing about what it has not had.
    fetch: Fetch,
    /// How much of that it reads at a time.
    ahead: Ahead,
    /// The number of the change that is being saved, if one is.
    saving: Option<u64>,
    /// Whether it has got further since.
    is_dirty: bool,
    /// Whether its window stays empty: the broker is about to end.
    pub(super) is_closed: bool,
    /// Of a topic that is shared: what the store does for the group.
    pub(super) link: Link,
}

/// What a store does for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) enum Link {
    /// The topic is this broker's alone: the group is always open, and what is appended is offered to it.
    Own,
    /// Nothing: the group has no members.
    Closed,
    /// It was asked to open the group, or has lost it and opens it again.
    Opening,
    /// It says what has arrived for the group.
    Open,
}

/// Where a window ends: where the next message of it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Place {
    /// At this sequence.
    At(u64),
    /// The store has to say which sequence that is. Until it has, nothing is appended to the topic, unless the group is
    /// one of somebody's own.
    Sought(FetchFrom),
}

impl Source {
    /// Of a new group. `appended` is the last message of the topic that was appended.
    pub(crate) fn new(id: GroupId, place: Place, appended: u64) -> Self {
        let begins = match place {
            Place::At(sequence) => sequence - 1,
            Place::Sought(_) => 0,
        };
        Self {
            place,
            appended,
            counted: 0,
            attempts: Attempts::default(),
            settled: id.is_lasting().then(|| Settled::up_to(begins)),
            fetch: Fetch::None,
            ahead: Ahead::default(),
            saving: None,
            is_dirty: false,
            is_closed: false,
            link: Link::Own,
        }
    }

    /// Of a group of a topic that is shared: the store says where its messages begin.
    pub(crate) fn shared(id: GroupId) -> Self {
        Self {
            link: Link::Closed,
            ..Self::new(id, Place::At(1), 0)
        }
    }

    /// Of a group that has got so far in another life of the broker.
    pub(crate) fn recovered(settled: Settled, appended: u64) -> Self {
        let place = Place::At(settled.next());
        // No more is known of that life: all that is not settled before something that is counts as handed out once.
        let mut attempts = Attempts::default();
        if let Some(known) = Range::new(settled.next(), settled.end() - 1) {
            attempts.note(known, 1);
        }
        Self {
            attempts,
            settled: Some(settled),
            ..Self::new(GroupId::Shared, place, appended)
        }
    }

    pub(crate) const fn place(&self) -> Place {
        self.place
    }

    /// Whether the store has yet to say where it begins.
    pub(crate) const fn is_sought(&self) -> bool {
        matches!(self.place, Place::Sought(_))
    }

    pub(crate) const fn settled(&self) -> Option<&Settled> {
        self.settled.as_ref()
    }

    /// Of a topic that is shared: the sequence after the last message of the group that has arrived.
    pub(crate) fn arriving(&self) -> Option<u64> {
        (self.link != Link::Own).then_some(self.appended + 1)
    }

    /// How many messages that were appended have not come into the window.
    pub(crate) const fn behind(&self) -> u64 {
        match self.place {
            Place::At(next) => (self.appended + 1).saturating_sub(next),
            Place::Sought(_) => 0,
        }
    }

    /// What it is behind by is counted in these sums as it is now.
    pub(crate) fn count_behind(&mut self, sums: [&mut Behind; 2]) {
        let behind = self.behind();
        if behind != self.counted {
            for sum in sums {
                sum.replace(self.counted, behind);
            }
            self.counted = behind;
        }
    }

    /// The window goes on at this sequence, with what is before that in it, or not coming into it.
    pub(super) fn move_to(&mut self, next: u64) {
        self.place = Place::At(next);
        self.attempts.forget_before(next);
    }
}

impl Group {
    /// The name under which it is stored, if it is.
    pub(crate) fn stored_name(&self) -> Option<Name> {
        match self.id {
            GroupId::Shared => Name::new(SHARED_NAME).ok(),
            GroupId::Named(_) => self.name.clone(),
            GroupId::Own(_) => None,
        }
    }

    /// Its place on the topic, if that is stored.
    pub(crate) fn source(&self) -> Option<&Source> {
        self.source.as_deref()
    }

    pub(crate) fn source_mut(&mut self) -> Option<&mut Source> {
        self.source.as_deref_mut()
    }

    /// Whether somebody is to know which messages have been settled.
    pub(crate) fn is_tracked(&self) -> bool {
        self.source.as_ref().is_some_and(|it| it.settled.is_some())
    }

    /// Checks what always holds, where `next` is the sequence of the topic's next message.
    ///
    /// # Panics
    /// If something does not hold.
    pub(super) fn check_source(&self, next: u64) {
        let Some(source) = self.source.as_deref() else {
            return;
        };
        let next = source.arriving().unwrap_or(next);
        assert!(source.appended < next);
        assert_eq!(source.counted, source.behind(), "{}", self.id);
        if let Some(settled) = &source.settled {
            settled.check(next);
            if let Place::At(place) = source.place {
                source.attempts.check(place);
                assert!(
                    place >= settled.next(),
                    "it has settled what it has not had"
                );
            }
        }
        if self.members.is_empty() && self.id.is_lasting() {
            assert!(self.backlog.count().is_zero(), "nobody is there to take it");
        }
    }
}
