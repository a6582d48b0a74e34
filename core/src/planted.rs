//! The switch for planted bugs, in a build that has them: see `runtime-sim/src/planted/`.

use core::sync::atomic::{AtomicUsize, Ordering};

/// No bug.
const NONE: usize = usize::MAX;

static SELECTED: AtomicUsize = AtomicUsize::new(NONE);

/// Switches the bug of this number on, for the whole process, and all others off.
pub fn select(bug: Option<usize>) {
    SELECTED.store(bug.unwrap_or(NONE), Ordering::Relaxed);
}

/// Whether the bug of this number is switched on.
pub fn is(bug: usize) -> bool {
    SELECTED.load(Ordering::Relaxed) == bug
}
