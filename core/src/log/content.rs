//! What a record of a segment holds, in frames of the wire.

use super::record::{self, Record};
use crate::wire::control::{CONTROL_BIT, Control, Link, Mark, Origin, Range, Reason};
use crate::wire::{FrameBatch, LENGTH_PREFIX};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};

/// The format of the files that this version writes.
pub(super) const FORMAT: u32 = 1;

/// The code of a GAP that stands for what a power cut has taken.
const LOST: &str = "lost";

/// What a record of a segment holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// The first record of a segment.
    Head(Head),
    /// Nothing but positions of producers: behind the head, those of all that are remembered.
    Producers,
    /// Messages.
    Run {
        first: u64,
        published: u64,
        batch: FrameBatch,
        /// Of a dead letter, which is alone: where it came from.
        origin: Option<Box<Origin>>,
    },
    /// Sequences that nothing is stored of.
    Gap(Range),
}

/// What the first record of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) format: u32,
    pub(super) epoch: u64,
    pub(super) first: u64,
    /// Where the segment before begins; 0 if there was none.
    pub(super) previous: u64,
    /// When the last message before was published.
    pub(super) published: u64,
}

impl Content {
    /// What a record holds; none if it is nothing that stands in a segment.
    pub(super) fn of(record: &Record) -> Option<Self> {
        let bytes = &record.content;
        if bytes.is_empty() {
            return Some(Self::Producers);
        }
        let header = u32::from_be_bytes(*bytes.first_chunk()?);
        if header & CONTROL_BIT == 0 {
            return None;
        }
        let end = LENGTH_PREFIX + (header & !CONTROL_BIT) as usize;
        let control = Control::decode(Link::ToConsumer, bytes.get(LENGTH_PREFIX..end)?);
        match control.ok()?? {
            Control::Run {
                first, published, ..
            } => {
                let (origin, end) = origin(bytes, end)?;
                let batch = FrameBatch::parse(bytes.slice(end..)).ok()?;
                if origin.is_some() && batch.messages() != 1 {
                    return None;
                }
                let last = first.checked_add(batch.messages() as u64)?;
                (first > 0 && last > first).then_some(Self::Run {
                    first,
                    published,
                    batch,
                    origin,
                })
            }
            Control::Gap(range, _) => {
                let is_range = range.from > 0 && range.to < u64::MAX;
                is_range.then_some(Self::Gap(range))
            }
            Control::Segment {
                format,
                epoch,
                first,
                previous,
                published,
            } => Some(Self::Head(Head {
                format,
                epoch,
                first,
                previous,
                published,
            })),
            Control::Topic(_)
            | Control::Ping(_)
            | Control::Pong(..)
            | Control::Flush(_)
            | Control::Flushed(_)
            | Control::Error(_)
            | Control::GoAway { .. }
            | Control::Bye
            | Control::Confirmed { .. }
            | Control::Refused(..)
            | Control::Blocked { .. }
            | Control::Origin(_)
            | Control::Revoked { .. }
            | Control::Settle { .. }
            | Control::Credit { .. }
            | Control::Check { .. } => None,
        }
    }

    /// The first and the last sequence.
    pub(super) fn range(&self) -> Option<Range> {
        match self {
            Self::Head(_) | Self::Producers => None,
            Self::Run { first, batch, .. } => {
                Range::new(*first, first + batch.messages() as u64 - 1)
            }
            Self::Gap(range) => Some(*range),
        }
    }
}

/// Where the dead letter comes from that stands at `at`, if that is said there, and where it begins. None if what
/// stands there is something else that is no message.
fn origin(bytes: &Bytes, at: usize) -> Option<(Option<Box<Origin>>, usize)> {
    let rest = bytes.get(at..)?;
    let header = u32::from_be_bytes(*rest.first_chunk()?);
    if header & CONTROL_BIT == 0 {
        return Some((None, at));
    }
    let end = at + LENGTH_PREFIX + (header & !CONTROL_BIT) as usize;
    let body = bytes.get(at + LENGTH_PREFIX..end)?;
    let Control::Origin(origin) = Control::decode(Link::ToConsumer, body).ok()?? else {
        return None;
    };
    Some((Some(Box::new(origin)), end))
}

/// What stands before the messages of a record: its CHECK, its RUN and, of a dead letter, its ORIGIN.
pub(super) fn head_of_run(
    out: &mut BytesMut,
    run: (u64, u64),
    batch: &FrameBatch,
    safe: u64,
    producers: Vec<Mark>,
    origin: Option<&Origin>,
) -> Bytes {
    let (first, published) = run;
    let mut frame = BytesMut::with_capacity(32);
    let control = Control::Run {
        first,
        published,
        attempt: 1,
    };
    control.encode(&mut frame);
    if let Some(origin) = origin {
        Control::Origin(origin.clone()).encode(&mut frame);
    }
    record::put_check(out, &[&frame, batch.as_bytes()], safe, producers);
    out.extend_from_slice(&frame);
    out.split().freeze()
}

/// A record that says that nothing is stored of these sequences.
pub(super) fn gap(range: Range, safe: u64) -> Bytes {
    let reason = Reason {
        code: LOST.into(),
        text: String::new(),
    };
    of_control(&Control::Gap(range, reason), safe)
}

/// The records that a segment begins with.
pub(super) fn head_of_segment(
    head: Head,
    safe: u64,
    producers: impl Iterator<Item = Mark>,
) -> Bytes {
    /// As many bytes of marks as fit into a frame, with room to spare for one more.
    const MARKS: usize = 60_000;
    let control = Control::Segment {
        format: head.format,
        epoch: head.epoch,
        first: head.first,
        previous: head.previous,
        published: head.published,
    };
    let mut out = BytesMut::from(of_control(&control, safe));
    let (mut marks, mut bytes) = (Vec::new(), 0);
    for mark in producers {
        bytes += record::mark_len(&mark);
        marks.push(mark);
        if bytes >= MARKS {
            record::put_check(&mut out, &[], safe, core::mem::take(&mut marks));
            bytes = 0;
        }
    }
    if !marks.is_empty() {
        record::put_check(&mut out, &[], safe, marks);
    }
    out.freeze()
}

fn of_control(control: &Control, safe: u64) -> Bytes {
    let mut frame = BytesMut::new();
    control.encode(&mut frame);
    let mut out = BytesMut::new();
    record::put_check(&mut out, &[&frame], safe, Vec::new());
    out.extend_from_slice(&frame);
    out.freeze()
}
