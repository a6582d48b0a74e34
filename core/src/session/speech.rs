//! What a consumer of version 2 is told between its messages (PROTOCOL.md, section "Control frames").

use super::Membership;
use crate::group::Waiting;
use crate::id::{GroupId, TopicId};
use crate::names::TopicName;
use crate::time::Now;
use crate::wire::control::{Control, Range, Reason};
use crate::wire::{Piece, check};
use alloc::string::String;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};

/// What a consumer has been told, so that only what is news is said again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Speech {
    /// The topic that its messages belong to, where it has to be told that.
    topic: Option<TopicId>,
    /// What the next message would be if no RUN were said.
    run: Option<Run>,
    /// Whether messages come with their sums.
    checks: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Run {
    sequence: u64,
    published: u64,
    attempt: u32,
}

/// Where messages come from, as their consumer is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    pub(crate) topic: TopicId,
    pub(crate) group: GroupId,
    /// The topic's name, if it is to be said.
    pub(crate) name: Option<&'a TopicName>,
    /// Milliseconds from 1970 to the broker's start.
    pub(crate) started_ms: u64,
}

impl Speech {
    /// Nothing was told yet. `checks`: messages are to come with their sums.
    pub(crate) fn new(checks: bool) -> Self {
        Self {
            checks,
            ..Self::default()
        }
    }

    /// Whether messages come with their sums.
    pub(crate) const fn checks(&self) -> bool {
        self.checks
    }

    /// The pieces of a write: these batches, each behind what is to be said of it. `first` comes before all.
    pub(crate) fn pieces(
        &mut self,
        first: Option<Bytes>,
        handed: &[Waiting],
        source: &Source<'_>,
        membership: &mut Membership,
    ) -> Vec<Piece> {
        if self.checks {
            return self.checked_pieces(first, handed, source, membership);
        }
        let mut pieces = Vec::with_capacity(2 * handed.len());
        let mut said = first.map_or_else(BytesMut::new, BytesMut::from);
        for waiting in handed {
            self.announce(waiting, source, membership, &mut said);
            if !said.is_empty() {
                pieces.push(Piece::Control(said.split().freeze()));
            }
            pieces.push(Piece::Messages(waiting.batch.clone()));
        }
        pieces
    }

    /// The same, with the sum of each batch and of what is said of it. That is all that has to be known of its messages,
    /// whatever was said of others before, but for the topic.
    #[cold]
    #[inline(never)]
    fn checked_pieces(
        &mut self,
        first: Option<Bytes>,
        handed: &[Waiting],
        source: &Source<'_>,
        membership: &mut Membership,
    ) -> Vec<Piece> {
        let mut pieces = Vec::with_capacity(1 + 3 * handed.len());
        pieces.extend(first.map(Piece::Control));
        for waiting in handed {
            let mut said = BytesMut::new();
            self.run = None;
            self.announce(waiting, source, membership, &mut said);
            let check = check::of_messages(&said, &waiting.batch, waiting.end() - 1);
            pieces.extend([
                Piece::Check(check),
                Piece::Control(said.freeze()),
                Piece::Messages(waiting.batch.clone()),
            ]);
        }
        pieces
    }

    fn announce(
        &mut self,
        waiting: &Waiting,
        source: &Source<'_>,
        membership: &mut Membership,
        out: &mut BytesMut,
    ) {
        let mark = &waiting.mark;
        if let Some(name) = source.name
            && self.topic != Some(source.topic)
        {
            self.topic = Some(source.topic);
            self.run = None;
            Control::Topic(name.as_str().into()).encode(out);
        }
        if !source.group.is_lasting() {
            tell_gap(waiting, membership, out);
        }
        let run = Run {
            sequence: mark.sequence,
            published: source.started_ms + millis(mark.published),
            attempt: mark.attempts,
        };
        if self.run != Some(run) {
            Control::Run {
                first: run.sequence,
                published: run.published,
                attempt: run.attempt,
            }
            .encode(out);
        }
        self.run = Some(Run {
            sequence: waiting.end(),
            ..run
        });
        if let Some(origin) = &mark.origin {
            Control::Origin((**origin).clone()).encode(out);
        }
    }
}

/// In a group of one's own all come in order, so one that is missing will not come. What has expired was before all
/// that was dropped since then.
fn tell_gap(waiting: &Waiting, membership: &mut Membership, out: &mut BytesMut) {
    let first = waiting.mark.sequence;
    let next = membership.next;
    let expired = membership.expired.clamp(next, first.max(next));
    for (from, end, code) in [(next, expired, "expired"), (expired, first, "dropped")] {
        if from < end
            && let Some(missing) = Range::new(from, end - 1)
        {
            let reason = Reason {
                code: code.into(),
                text: String::new(),
            };
            Control::Gap(missing, reason).encode(out);
        }
    }
    membership.next = waiting.end().max(next);
}

fn millis(at: Now) -> u64 {
    at.since_start().as_millis() as u64
}
