//! Time as the core sees it: a number that the runtime passes in.

use core::fmt;
use core::ops::{Add, Sub};
use core::time::Duration;

/// A moment, measured as the time since an origin that the runtime chooses: when the broker started, say. With stored
/// topics it is 1970, so that messages of earlier lives have a moment, too.
///
/// The core has no clock. The runtime reads its own (real or simulated) and hands the reading to
/// every call that needs one. It must never run backwards; that is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Now(Duration);

impl Now {
    /// The origin.
    pub const START: Self = Self(Duration::ZERO);

    /// The moment `since_start` after the broker started.
    pub const fn at(since_start: Duration) -> Self {
        Self(since_start)
    }

    /// The time since the broker started.
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// The time from `earlier` to `self`; zero if `earlier` is not earlier.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Now {
    type Output = Self;

    /// A moment `rhs` later; the end of time if that is past the end.
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(rhs))
    }
}

impl Sub for Now {
    type Output = Duration;

    fn sub(self, rhs: Self) -> Duration {
        self.since(rhs)
    }
}

impl fmt::Display for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}s", self.0.as_secs_f64())
    }
}
