//! All states of a connection and all moves between them. No other file decides this.

/// Where a connection stands.
///
/// ```text
///                    ┌────────▶ Producing ◀──────▶ Blocked
///     AwaitingRole ──┤
///                    └────────▶ Idle      ◀──────▶ Writing
/// ```
/// Any of them may begin to close at any time ([`Session::closing`](super::Session::closing)), and
/// is gone when its socket has been sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum State {
    /// Opened; its role line is not whole yet. Ends by itself after `role_timeout`.
    AwaitingRole,
    /// A producer that is being read from.
    Producing,
    /// A producer that is not being read from: what it sent last is parked until there is room.
    Blocked,
    /// A consumer with no write in flight.
    Idle,
    /// A consumer with a write in flight. Ends by itself if that takes too long
    /// (`Outbox::due`).
    Writing,
}

/// What moves a connection from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Its role line said `PRODUCER`.
    IsProducer,
    /// Its role line said `CONSUMER`, and there was a place.
    IsConsumer,
    /// It sent a batch.
    Sent,
    /// It sent a part of a frame. That it had done when it was blocked, too.
    BeganFrame,
    /// There is no room for all that it sent.
    Parked,
    /// There was room for the last of what it had parked.
    Admitted,
    /// A write was handed to it.
    WriteStarted,
    /// Its socket took the last byte of that write.
    WriteDone,
}

impl State {
    /// The state after `event`; none if the event cannot happen here.
    pub(crate) const fn next(self, event: Event) -> Option<Self> {
        match (self, event) {
            (Self::AwaitingRole, Event::IsProducer) => Some(Self::Producing),
            (Self::AwaitingRole, Event::IsConsumer) => Some(Self::Idle),
            (Self::Producing, Event::Sent | Event::BeganFrame) => Some(Self::Producing),
            (Self::Blocked, Event::BeganFrame) => Some(Self::Blocked),
            (Self::Producing, Event::Parked) => Some(Self::Blocked),
            (Self::Blocked, Event::Admitted) => Some(Self::Producing),
            (Self::Idle, Event::WriteStarted) => Some(Self::Writing),
            (Self::Writing, Event::WriteDone) => Some(Self::Idle),
            (
                Self::AwaitingRole | Self::Producing | Self::Blocked | Self::Idle | Self::Writing,
                Event::IsProducer
                | Event::IsConsumer
                | Event::Sent
                | Event::BeganFrame
                | Event::Parked
                | Event::Admitted
                | Event::WriteStarted
                | Event::WriteDone,
            ) => None,
        }
    }

    /// Whether this is a consumer's state.
    pub(crate) const fn is_consumer(self) -> bool {
        matches!(self, Self::Idle | Self::Writing)
    }

    /// Whether this is a producer's state.
    pub(crate) const fn is_producer(self) -> bool {
        matches!(self, Self::Producing | Self::Blocked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_for_life_and_a_write_ends_before_the_next() {
        for state in [
            State::Producing,
            State::Blocked,
            State::Idle,
            State::Writing,
        ] {
            assert_eq!(state.next(Event::IsProducer), None);
            assert_eq!(state.next(Event::IsConsumer), None);
        }
        assert_eq!(State::Writing.next(Event::WriteStarted), None);
        assert_eq!(State::Idle.next(Event::WriteDone), None);
        assert_eq!(State::Blocked.next(Event::Sent), None);
    }
}
