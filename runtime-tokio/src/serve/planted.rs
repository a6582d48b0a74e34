//! Bugs on purpose, in the driver; the core has its own. Small mistakes of the kind that people
//! make, each behind a switch.
//!
//! Only a build with `--cfg planted_bugs` has them; in any other, [`is`] is `false` when it is
//! compiled and every call of it vanishes.

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(planted_bugs),
    expect(unreachable_pub, reason = "public in a build with planted bugs only")
)]
#[repr(u8)]
pub enum Bug {
    /// Bytes that a socket took at once, but not all of a write, are not counted.
    FirstPartNotCounted = 1,
    /// What a socket took of a write is counted when it is done and not before, so that of one that
    /// fails in between nothing counts as taken.
    CountedWhenDone,
    /// After a partial write the same bytes are written again.
    OffsetNotAdvanced,
    /// The offset into one batch is kept for the next.
    OffsetKept,
    /// A producer that is to wait is read from.
    PauseIgnored,
    /// A producer that may go on is not woken.
    ResumeWithoutWaking,
    /// Producers in line are not told that they may go on.
    PaceNotTold,
}

#[cfg(planted_bugs)]
impl Bug {
    /// Every bug there is.
    pub const ALL: [Self; 7] = [
        Self::FirstPartNotCounted,
        Self::CountedWhenDone,
        Self::OffsetNotAdvanced,
        Self::OffsetKept,
        Self::PauseIgnored,
        Self::ResumeWithoutWaking,
        Self::PaceNotTold,
    ];
}

#[cfg(planted_bugs)]
static SELECTED: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

/// Switches one bug on, for the whole process, and all others off.
#[cfg(planted_bugs)]
pub fn select(bug: Option<Bug>) {
    let number = bug.map_or(0, |bug| bug as u8);
    SELECTED.store(number, std::sync::atomic::Ordering::Relaxed);
}

/// Whether this bug is switched on.
#[cfg(planted_bugs)]
pub(crate) fn is(bug: Bug) -> bool {
    SELECTED.load(std::sync::atomic::Ordering::Relaxed) == bug as u8
}

/// No bug is ever switched on in this build.
#[cfg(not(planted_bugs))]
pub(crate) const fn is(_: Bug) -> bool {
    false
}
