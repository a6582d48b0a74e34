//! One connection, as the broker sees it.

mod consumer;
mod line;
mod outbox;
mod producer;
mod signals;
mod speech;
mod version2;

pub(crate) use consumer::{Acks, Consumer, Credit, Held, Membership, Wanted};
pub(crate) use line::Line;
pub(crate) use outbox::{HandedOut, Outbox};
pub(crate) use producer::{Confirms, Producer};
pub(crate) use signals::{MAX_REFUSALS, Signals};
pub(crate) use speech::{Source, Speech};
pub(crate) use version2::{BLOCKED_AFTER, Counted, Version2};

use crate::access::{Access, Principal};
use crate::error::CloseReason;
use crate::time::Now;
use alloc::boxed::Box;

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Session {
    /// When it was opened.
    pub(crate) opened: Now,
    /// What it is, once it has said so.
    pub(crate) state: State,
    /// How many bytes of a frame that is not whole are counted for it. 0 once it is closing.
    pub(crate) partial: usize,
    /// Why it is closing, once it is: its socket is being sealed, and until the answer it stays in
    /// its state, holds its place and is handed nothing more.
    closing: Option<CloseReason>,
    /// What is on its way to its socket.
    pub(crate) outbox: Outbox,
    /// What it has if it speaks version 2.
    pub(crate) version2: Option<Box<Version2>>,
    /// Who it is; none: it may do everything.
    pub(crate) access: Option<Box<Access>>,
}

/// What a connection is. The way of each is short enough to be told here: it waits for its role, takes it
/// up, and keeps it until it is gone.
///
/// ```text
///                        ┌──▶ Producer: reading ◀──▶ parked
///     AwaitingRole ──────┤
///                        └──▶ Consumer: idle    ◀──▶ a write in flight
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum State {
    /// Opened; its role line is not whole yet. Ends by itself after `role_timeout`.
    AwaitingRole {
        /// Whether it was opened while the broker was draining. It may become a consumer, and no producer.
        late: bool,
    },
    /// It sends messages.
    Producer(Box<Producer>),
    /// It receives messages.
    Consumer(Box<Consumer>),
}

impl Session {
    pub(crate) fn new(opened: Now, late: bool) -> Self {
        Self {
            opened,
            state: State::AwaitingRole { late },
            partial: 0,
            closing: None,
            outbox: Outbox::default(),
            version2: None,
            access: None,
        }
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

    /// Who it is, if the broker was told.
    pub(crate) fn principal(&self) -> Option<&Principal> {
        self.access.as_ref().map(|it| &it.principal)
    }

    /// Whether the answer to its role line is held back until the engine of a topic has opened its group.
    pub(crate) fn awaits_answer(&self) -> bool {
        let version2 = self.version2.as_ref();
        version2.is_some_and(|it| it.signals.is_held)
    }

    /// Whether it came while the broker was draining, and has no role yet.
    pub(crate) const fn is_late(&self) -> bool {
        matches!(self.state, State::AwaitingRole { late: true })
    }

    pub(crate) fn producer(&self) -> Option<&Producer> {
        match &self.state {
            State::Producer(producer) => Some(producer),
            State::AwaitingRole { .. } | State::Consumer(_) => None,
        }
    }

    pub(crate) fn producer_mut(&mut self) -> Option<&mut Producer> {
        match &mut self.state {
            State::Producer(producer) => Some(producer),
            State::AwaitingRole { .. } | State::Consumer(_) => None,
        }
    }

    pub(crate) fn consumer(&self) -> Option<&Consumer> {
        match &self.state {
            State::Consumer(consumer) => Some(consumer),
            State::AwaitingRole { .. } | State::Producer(_) => None,
        }
    }

    pub(crate) fn consumer_mut(&mut self) -> Option<&mut Consumer> {
        match &mut self.state {
            State::Consumer(consumer) => Some(consumer),
            State::AwaitingRole { .. } | State::Producer(_) => None,
        }
    }

    /// What is on its way to it, if it speaks version 2.
    pub(crate) fn on_its_way(&self) -> Counted {
        let signals = self
            .version2
            .as_ref()
            .map_or(0, |it| it.signals.about_bytes());
        let messages = self.outbox.in_flight();
        Counted {
            messages,
            said: self.outbox.in_flight_bytes() as u64 - messages.bytes + signals as u64,
        }
    }

    /// Whether it is closed as soon as it has been told everything.
    pub(crate) fn is_finishing(&self) -> bool {
        let version2 = self.version2.as_ref();
        version2.is_some_and(|version2| version2.finishing.is_some())
    }

    /// How much this consumer can be handed now; none if nothing: it has a write in flight, all that it may hold,
    /// or its end before it.
    pub(crate) fn credit(&self) -> Option<Credit> {
        if self.is_closing() || self.outbox.is_busy() {
            return None;
        }
        if self.version2.as_ref().is_some_and(|it| it.is_going_away) {
            return None;
        }
        self.consumer()?.credit()
    }
}
