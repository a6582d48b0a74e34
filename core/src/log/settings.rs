//! The settings of a log.

use core::time::Duration;

/// When what was appended is made safe, and so when it is reported as appended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Fsync {
    /// Before it is reported. What is appended while a sync is in flight goes with the next one.
    #[default]
    Always,
    /// It is reported once it is written, and is safe so long after that at the latest. A power cut loses what was
    /// reported since; the end of the process alone loses nothing.
    Every(Duration),
    /// It is reported once it is written. A power cut loses what the system had not written out by itself: at most
    /// what stands in the last segment.
    Never,
}

impl Fsync {
    /// How long after it was written something is safe at the latest; none: that is not promised.
    pub(super) const fn within(self) -> Option<Duration> {
        match self {
            Self::Always => Some(Duration::ZERO),
            Self::Every(after) => Some(after),
            Self::Never => None,
        }
    }
}

/// How a log is kept. All may be changed from one opening to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// See [`Fsync`]. Default: always.
    pub fsync: Fsync,
    /// A segment takes no record more when it would become larger than this, in bytes. Default: 64 MiB. Recovery
    /// reads one segment, and retention deletes whole ones.
    pub segment_bytes: u64,
    /// Whether a new segment is filled with zeros up to `segment_bytes` before it is used, so that a write changes no
    /// size and a sync is faster. With [`Fsync::Never`] it is not: there is no sync to be faster. Default: true.
    pub preallocate: bool,
    /// The most producers whose positions are remembered; who has published longest ago is forgotten first.
    /// Default: 10,000.
    pub max_producers: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            fsync: Fsync::default(),
            segment_bytes: 64 << 20,
            preallocate: true,
            max_producers: 10_000,
        }
    }
}
