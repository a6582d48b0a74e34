//! Which segments are not needed any more.

use super::segment::Segments;

/// What may be deleted. Only whole segments are, from the oldest on, and never the last: so it is always a little less
/// than what is asked for, by up to a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// A segment all of which was published before this, in milliseconds since 1970. 0: none.
    pub published_before: u64,
    /// The oldest, while all together have more than so many bytes.
    pub max_bytes: u64,
    /// A segment all of which every group has settled: what is up to this sequence. 0: none.
    pub settled_up_to: u64,
}

impl Default for Retention {
    /// Nothing may be deleted.
    fn default() -> Self {
        Self {
            published_before: 0,
            max_bytes: u64::MAX,
            settled_up_to: 0,
        }
    }
}

impl Retention {
    /// The sequence at which the log is to begin; the last segment has so many bytes.
    pub(super) fn begin(&self, segments: &Segments, last_bytes: u64) -> Option<u64> {
        let sealed = segments.iter().map(|it| it.bytes);
        let mut bytes = sealed.fold(last_bytes, u64::saturating_add);
        let mut begin = None;
        for (segment, next) in segments.iter().zip(segments.iter().skip(1)) {
            let is_old = next.published < self.published_before;
            let is_settled = next.first <= self.settled_up_to.saturating_add(1);
            if !(is_old || is_settled || bytes > self.max_bytes) {
                break;
            }
            bytes = bytes.saturating_sub(segment.bytes);
            begin = Some(next.first);
        }
        begin
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::segment::Segment;

    #[test]
    fn whole_segments_go_from_the_oldest_on_and_the_last_stays() {
        let mut segments = Segments::default();
        for (first, published, bytes) in [(1, 0, 100), (11, 50, 100), (21, 90, 0)] {
            segments.push(Segment {
                first,
                published,
                bytes,
            });
        }
        let none = Retention::default();
        let begin = |retention: Retention| retention.begin(&segments, 30);
        assert_eq!(begin(none), None);
        for (published_before, expected) in [
            (50, None),
            (51, Some(11)),
            (90, Some(11)),
            (91, Some(21)),
            (1000, Some(21)),
        ] {
            let retention = Retention {
                published_before,
                ..none
            };
            assert_eq!(begin(retention), expected, "before {published_before}");
        }
        for (max_bytes, expected) in [
            (230, None),
            (229, Some(11)),
            (130, Some(11)),
            (129, Some(21)),
            (0, Some(21)),
        ] {
            let retention = Retention { max_bytes, ..none };
            assert_eq!(begin(retention), expected, "{max_bytes} bytes");
        }
        for (settled_up_to, expected) in [
            (9, None),
            (10, Some(11)),
            (19, Some(11)),
            (20, Some(21)),
            (u64::MAX, Some(21)),
        ] {
            let retention = Retention {
                settled_up_to,
                ..none
            };
            assert_eq!(begin(retention), expected, "up to {settled_up_to}");
        }
    }
}
