//! One connection, as the broker sees it.

mod outbox;
mod state;

pub(crate) use outbox::Outbox;
pub(crate) use state::{Event, State};

use crate::error::CloseReason;
use crate::id::{DEFAULT_TOPIC, GroupId, TopicId};
use crate::time::Now;

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Session {
    /// Where it stands. Changed by [`Session::advance`] alone.
    state: State,
    /// Why it is closing, once it is: its socket is being sealed, and until the answer it stays in
    /// its state, holds its place and is handed nothing more.
    closing: Option<CloseReason>,
    /// When it was opened.
    pub(crate) opened: Now,
    /// Whether it was opened while the broker was draining. It may become a consumer, and no producer.
    pub(crate) late: bool,
    /// The topic that it sends to or receives from, once it has a role.
    pub(crate) topic: TopicId,
    /// How many bytes of a frame that is not whole are counted for it. 0 once it is closing.
    pub(crate) partial: usize,
    /// What it is as a consumer. Some in the consumers' states, none in the others.
    pub(crate) consumer: Option<Consumer>,
}

/// What only a consumer has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Consumer {
    /// The group it is a member of.
    pub(crate) group: GroupId,
    /// Its turn among the idle members, if it is idle; else the last that it had.
    pub(crate) turn: u64,
    /// What is on its way to its socket.
    pub(crate) outbox: Outbox,
}

impl Session {
    pub(crate) const fn new(opened: Now, late: bool) -> Self {
        Self {
            state: State::AwaitingRole,
            closing: None,
            opened,
            late,
            topic: DEFAULT_TOPIC,
            partial: 0,
            consumer: None,
        }
    }

    pub(crate) const fn state(&self) -> State {
        self.state
    }

    /// Why it is closing, if it is.
    pub(crate) const fn closing(&self) -> Option<CloseReason> {
        self.closing
    }

    pub(crate) const fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    pub(crate) const fn begin_closing(&mut self, reason: CloseReason) {
        self.closing = Some(reason);
    }

    /// Moves on by the table in `state.rs`.
    ///
    /// # Panics
    /// If the table has no such move: the caller broke the contract of `Broker::handle_input`.
    pub(crate) fn advance(&mut self, event: Event) {
        let Some(next) = self.state.next(event) else {
            panic!(
                "a connection in state {:?} cannot take {event:?}",
                self.state
            );
        };
        self.state = next;
    }
}
