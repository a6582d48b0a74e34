//! Bugs on purpose: small mistakes of the kind that people make, each behind a switch.
//!
//! They prove the proof: a simulation that does not find them would not find their like. Only a
//! build with `--cfg planted_bugs` has them; in any other, [`is`] is `false` when it is compiled
//! and every call of it vanishes.

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(planted_bugs, derive(Hash, PartialOrd, Ord))]
#[cfg_attr(
    not(planted_bugs),
    expect(unreachable_pub, reason = "public in a build with planted bugs only")
)]
#[repr(u8)]
pub enum Bug {
    /// After a write is done nobody looks whether more waits for that consumer.
    LostWakeup = 1,
    /// Where a batch is split for a write, the last message of the rest is forgotten.
    SplitOffByOne,
    /// What a full backlog drops is not counted.
    DropNotCounted,
    /// What a member that left hands back goes behind all that waits.
    RequeueAtTheBack,
    /// What a member that left hands back goes before all that waits, also before older messages
    /// that another has handed back. This one was made in earnest, and found by a simulation.
    RequeueAtTheFront,
    /// A run is given to two members.
    RunServedTwice,
    /// The bound on the bytes of all backlogs together is not looked at.
    BrokerBytesIgnored,
    /// A backlog takes one message more than its capacity.
    CapacityOffByOne,
    /// A write that the socket took in part counts as done, so the next one is handed out.
    WriteBeforeWritten,
    /// Of a write that was given up, the message that the socket took in part counts as delivered.
    PartialCountsAsDelivered,
    /// The timer of a write is not set again for the write after it.
    WriteTimerForgotten,
    /// A producer that waits for room is never told that there is some.
    ResumeForgotten,
    /// One consumer more than allowed is let in.
    ConsumerLimitOffByOne,
    /// Producers are let in to the places that are reserved for consumers.
    ReserveIgnored,
    /// When its buffer grows, the decoder goes on one byte too far.
    DecoderResumesTooFar,
    /// What a connection that is closing has not taken goes to others before its socket is sealed.
    SealNotAwaited,
    /// The decoder takes a partial length prefix at the end of a read for the end of the frames
    /// and forgets it.
    DecoderForgetsPrefix,
}

#[cfg(planted_bugs)]
impl Bug {
    /// Every bug there is.
    pub const ALL: [Self; 16] = [
        Self::LostWakeup,
        Self::SplitOffByOne,
        Self::DropNotCounted,
        Self::RequeueAtTheBack,
        Self::RequeueAtTheFront,
        Self::RunServedTwice,
        Self::BrokerBytesIgnored,
        Self::CapacityOffByOne,
        Self::WriteBeforeWritten,
        Self::PartialCountsAsDelivered,
        Self::WriteTimerForgotten,
        Self::ResumeForgotten,
        Self::ConsumerLimitOffByOne,
        Self::ReserveIgnored,
        Self::DecoderResumesTooFar,
        Self::DecoderForgetsPrefix,
        Self::SealNotAwaited,
    ];
}

#[cfg(planted_bugs)]
static SELECTED: core::sync::atomic::AtomicU8 = core::sync::atomic::AtomicU8::new(0);

/// Switches one bug on, for the whole process, and all others off.
#[cfg(planted_bugs)]
pub fn select(bug: Option<Bug>) {
    let number = bug.map_or(0, |bug| bug as u8);
    SELECTED.store(number, core::sync::atomic::Ordering::Relaxed);
}

/// Whether this bug is switched on.
#[cfg(planted_bugs)]
pub(crate) fn is(bug: Bug) -> bool {
    SELECTED.load(core::sync::atomic::Ordering::Relaxed) == bug as u8
}

/// No bug is ever switched on in this build.
#[cfg(not(planted_bugs))]
pub(crate) const fn is(_: Bug) -> bool {
    false
}
