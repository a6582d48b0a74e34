//! What a connection of version 2 is yet to be told beside messages: in constant memory, however little it reads.

use crate::wire::control::{Control, Lag, Range, Reason};
use alloc::string::String;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use core::mem;

/// Refusals of one producer that are yet to be told, at most: it is not read from meanwhile.
pub(crate) const MAX_REFUSALS: usize = 64;

/// What is to be told. Newer numbers stand for those before them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Signals {
    /// The answer to the role line. Comes before everything else.
    pub(crate) answer: Option<String>,
    /// Whether nothing is told yet: a group of its own begins when the engine of a topic says so.
    pub(crate) is_held: bool,
    /// Positions that it holds no more, because it was silent about them for too long.
    pub(crate) revoked: Vec<Range>,
    /// Positions that it holds no more, because the store has taken them back.
    pub(crate) taken_back: Vec<Range>,
    pub(crate) ping: Option<u64>,
    pub(crate) pong: Option<(u64, Option<Lag>)>,
    pub(crate) flushed: Option<u64>,
    /// At most [`MAX_REFUSALS`].
    pub(crate) refused: Vec<(Range, Reason)>,
    /// The position up to which all is safe, and how many found no group.
    pub(crate) confirmed: Option<(u64, u64)>,
    /// Whether it is not read from, and which group is full.
    pub(crate) blocked: Option<(bool, String)>,
    /// Milliseconds left, and to wait.
    pub(crate) go_away: Option<(u32, u32)>,
}

impl Signals {
    pub(crate) const fn is_empty(&self) -> bool {
        self.answer.is_none()
            && self.revoked.is_empty()
            && self.taken_back.is_empty()
            && self.ping.is_none()
            && self.pong.is_none()
            && self.flushed.is_none()
            && self.refused.is_empty()
            && self.confirmed.is_none()
            && self.blocked.is_none()
            && self.go_away.is_none()
    }

    /// Notes that positions were refused: with those before them, where it is for the same reason.
    pub(crate) fn refuse(&mut self, range: Range, reason: Reason) {
        if let Some((last, why)) = self.refused.last_mut()
            && last.to + 1 == range.from
            && *why == reason
        {
            last.to = range.to;
            return;
        }
        self.refused.push((range, reason));
    }

    /// About how many bytes it takes, what every one of them takes not counted.
    pub(crate) fn about_bytes(&self) -> usize {
        /// A range of positions.
        const RANGE: usize = 20;
        let refused = self.refused.iter();
        let refused = refused.map(|(_, why)| 2 * RANGE + why.code.len() + why.text.len());
        self.answer.as_ref().map_or(0, String::len)
            + (self.revoked.len() + self.taken_back.len()) * RANGE
            + refused.sum::<usize>()
            + self.blocked.as_ref().map_or(0, |(_, text)| text.len())
    }

    /// Everything, as it stands on the wire; none if there is nothing.
    pub(crate) fn take(&mut self) -> Option<Bytes> {
        if self.is_empty() || self.is_held {
            return None;
        }
        let Self {
            answer,
            is_held: _,
            revoked,
            taken_back,
            ping,
            pong,
            flushed,
            refused,
            confirmed,
            blocked,
            go_away,
        } = mem::take(self);
        let mut out = BytesMut::new();
        out.extend_from_slice(answer.unwrap_or_default().as_bytes());
        let mut say = |control: Control| control.encode(&mut out);
        // A frame holds some 4,000 ranges.
        for (code, ranges) in [("ack_timeout", revoked), ("engine_lost", taken_back)] {
            for ranges in ranges.chunks(2048) {
                say(Control::Revoked {
                    code: code.into(),
                    ranges: ranges.to_vec(),
                });
            }
        }
        if let Some(number) = ping {
            say(Control::Ping(number));
        }
        if let Some((number, lag)) = pong {
            say(Control::Pong(number, lag));
        }
        for (range, reason) in refused {
            say(Control::Refused(range, reason));
        }
        if let Some((position, unrouted)) = confirmed {
            say(Control::Confirmed { position, unrouted });
        }
        if let Some(number) = flushed {
            say(Control::Flushed(number));
        }
        if let Some((blocked, text)) = blocked {
            say(Control::Blocked { blocked, text });
        }
        if let Some((left_ms, wait_ms)) = go_away {
            say(Control::GoAway {
                left_ms,
                wait_ms,
                text: "the broker is shutting down".into(),
            });
        }
        Some(out.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn range(from: u64, to: u64) -> Range {
        Range { from, to }
    }

    #[test]
    fn a_newer_number_stands_for_those_before_it_and_refusals_are_merged() {
        let mut signals = Signals {
            confirmed: Some((5, 0)),
            ..Signals::default()
        };
        let reason = |code: &str| Reason {
            code: code.into(),
            text: String::new(),
        };
        signals.confirmed = Some((7, 0));
        signals.refuse(range(8, 8), reason("full"));
        signals.refuse(range(9, 12), reason("full"));
        signals.refuse(range(13, 13), reason("forbidden"));
        assert_eq!(
            signals.refused,
            vec![
                (range(8, 12), reason("full")),
                (range(13, 13), reason("forbidden")),
            ]
        );
        let bytes = signals.take().expect("something");
        assert!(signals.is_empty() && signals.take().is_none());
        let mut expected = BytesMut::new();
        Control::Refused(range(8, 12), reason("full")).encode(&mut expected);
        Control::Refused(range(13, 13), reason("forbidden")).encode(&mut expected);
        Control::Confirmed {
            position: 7,
            unrouted: 0,
        }
        .encode(&mut expected);
        assert_eq!(bytes, expected);
    }
}
