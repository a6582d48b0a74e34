//! A consumer's side of CHECK: what comes out was verified.
//!
//! All that is said of messages stands behind a CHECK and is covered by its sum. Nothing of it comes out before all of it
//! has come and the sum is right. What stands between is answered or told at once, and is about the connection alone.

use super::batch::FrameBatch;
use super::check::{self, CHECK, MAX_CONTENT, MIN_CHECK};
use super::control::{CONTROL_BIT, Control, Link, Range};
use super::frame::{LENGTH_PREFIX, MAX_FRAME_BODY};
use super::frames::{self, Frames, header_at, whole_messages};
use super::read_buffer::ReadBuffer;
use alloc::collections::VecDeque;
use alloc::string::String;
use bytes::Bytes;
use core::fmt;

/// The kinds that a CHECK covers: TOPIC, RUN, GAP and ORIGIN.
const COVERED: [u8; 4] = [0x01, 0x20, 0x21, 0x22];

/// Those that are not covered and have one length: PING, PONG and FLUSHED. A longer one would be waited for.
const FIXED: [(u8, u32); 3] = [(0x02, 9), (0x03, 21), (0x05, 9)];

/// What only stands in files.
const SEGMENT: u8 = 0x81;

/// Verifies the stream of one connection.
#[derive(Debug, Default)]
pub(super) struct Verifier {
    /// What was verified and is yet to come out.
    verified: VecDeque<Frames>,
    /// How many bytes of what the CHECK at the front covers were looked through, so far as they have come.
    seen: usize,
    /// What was said in all that was verified.
    said: Said,
}

/// What was said of messages.
#[derive(Clone, Debug, Default)]
struct Said {
    topic: Option<String>,
    /// The sequence after the last message; 0 if there was none.
    next: u64,
}

/// What is damaged of a stream that is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The topic; none where nothing was said of it before.
    pub topic: Option<String>,
    /// The sequences of the messages that the wrong sum is of, if that can be told: one of them is damaged, or what was
    /// said of them.
    pub sequences: Option<Range>,
    /// The sequence of the last message on the connection that was right; 0 if there was none.
    pub last_right: u64,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(topic) = &self.topic {
            write!(f, "topic {topic}: ")?;
        }
        match (self.sequences, self.last_right) {
            (Some(Range { from, to }), _) if from == to => {
                write!(f, "message {from} was damaged on its way")
            }
            (Some(Range { from, to }), _) => write!(
                f,
                "one of the messages {from} to {to} was damaged on its way"
            ),
            (None, 0) => f.write_str("what came first was damaged on its way"),
            (None, last) => write!(f, "what came after message {last} was damaged on its way"),
        }
    }
}

impl Verifier {
    /// What comes next; `None` when it takes more bytes to go on.
    pub(super) fn next(
        &mut self,
        link: Link,
        buffer: &mut ReadBuffer,
    ) -> Result<Option<Frames>, Damage> {
        loop {
            if let Some(frames) = self.verified.pop_front() {
                return Ok(Some(frames));
            }
            let bytes = buffer.as_bytes();
            let Some(header) = header_at(bytes, 0) else {
                return Ok(None);
            };
            if header & CONTROL_BIT == 0 {
                return Err(self.damaged());
            }
            let Some(&kind) = bytes.get(LENGTH_PREFIX) else {
                return Ok(None);
            };
            let size = header & !CONTROL_BIT;
            let is_fixed = FIXED.iter().find(|(code, _)| *code == kind);
            if COVERED.contains(&kind)
                || kind == SEGMENT
                || is_fixed.is_some_and(|(_, fixed)| *fixed != size)
            {
                return Err(self.damaged());
            }
            if kind == CHECK {
                if !self.verify(link, buffer)? {
                    return Ok(None);
                }
                continue;
            }
            match frames::control(link, buffer).map_err(|_| self.damaged())? {
                None => return Ok(None),
                Some(None) => {}
                Some(Some(control)) => return Ok(Some(Frames::Control(control))),
            }
        }
    }

    /// Verifies what the CHECK at the front covers, if all of that has come.
    fn verify(&mut self, link: Link, buffer: &mut ReadBuffer) -> Result<bool, Damage> {
        let bytes = buffer.as_bytes();
        let body = (MIN_CHECK - LENGTH_PREFIX) as u32;
        if header_at(bytes, 0) != Some(CONTROL_BIT | body) {
            return Err(self.damaged());
        }
        let Some(length) = check::length(bytes) else {
            return Ok(false);
        };
        if length > MAX_CONTENT {
            return Err(self.damaged());
        }
        let end = MIN_CHECK + length;
        let come = bytes.get(MIN_CHECK..bytes.len().min(end)).unwrap_or(&[]);
        // Else a length that is damaged would be waited for, although all has come that was sent.
        self.seen = look_through(come, self.seen, length).ok_or_else(|| self.damaged())?;
        if bytes.len() < end {
            return Ok(false);
        }
        self.seen = 0;
        if !check::is_right(&bytes[..end]) {
            return Err(self.damaged_in(link, &bytes[..end]));
        }
        let (bytes, pinned) = buffer.take_bytes(end);
        let all = decode(link, &bytes.slice(MIN_CHECK..), pinned);
        self.verified = all.ok_or_else(|| self.damaged())?;
        self.said.follow(&self.verified);
        Ok(true)
    }

    /// Something is damaged of which nothing else is known.
    fn damaged(&self) -> Damage {
        Damage {
            topic: self.said.topic.clone(),
            sequences: None,
            last_right: self.said.next.saturating_sub(1),
        }
    }

    /// This CHECK has a sum that is wrong. The sequences are known if the CHECK, the RUN and the messages agree on the
    /// last.
    fn damaged_in(&self, link: Link, bytes: &[u8]) -> Damage {
        let mut damage = self.damaged();
        let check = Control::decode(link, &bytes[LENGTH_PREFIX..MIN_CHECK]);
        let covered = Bytes::copy_from_slice(&bytes[MIN_CHECK..]);
        if let Ok(Some(Control::Check { safe: last, .. })) = check
            && let Some(covered) = decode(link, &covered, covered.len())
        {
            let mut said = self.said.clone();
            let first = said.follow(&covered);
            if said.next.checked_sub(1) == Some(last) {
                damage.sequences = Range::new(first, last);
                damage.topic = said.topic;
            }
        }
        damage
    }
}

impl Said {
    /// Takes in what was said next. Returns the sequence of its first message.
    fn follow(&mut self, frames: &VecDeque<Frames>) -> u64 {
        let mut first = 0;
        for frames in frames {
            match frames {
                Frames::Control(Control::Topic(name)) => self.topic = Some(name.clone()),
                Frames::Control(Control::Run { first: it, .. }) => (first, self.next) = (*it, *it),
                Frames::Control(_) => {}
                Frames::Batch(batch) => {
                    self.next = self.next.saturating_add(batch.messages() as u64);
                }
            }
        }
        first
    }
}

/// Looks through frames, from `at` on, that a CHECK covers and of which not all may have come. Returns where the first
/// begins that was not looked at. None where one stands there that is not covered, or would reach beyond `length`.
fn look_through(bytes: &[u8], mut at: usize, length: usize) -> Option<usize> {
    while let Some(header) = header_at(bytes, at) {
        let size = (header & !CONTROL_BIT) as usize;
        if header & CONTROL_BIT == 0 {
            if size > MAX_FRAME_BODY {
                return None;
            }
        } else {
            match bytes.get(at + LENGTH_PREFIX) {
                None => break,
                Some(kind) if COVERED.contains(kind) => {}
                Some(_) => return None,
            }
        }
        let end = at + LENGTH_PREFIX + size;
        if end > length {
            return None;
        }
        if end > bytes.len() {
            break;
        }
        at = end;
    }
    Some(at)
}

/// All frames of these bytes, which keep so many alive.
fn decode(link: Link, bytes: &Bytes, pinned: usize) -> Option<VecDeque<Frames>> {
    let (mut all, mut at) = (VecDeque::new(), 0);
    while at < bytes.len() {
        let (messages, end) = whole_messages(&bytes[at..]);
        if messages > 0 {
            let frames = bytes.slice(at..at + end);
            let batch = FrameBatch::of_whole_frames(frames, messages, pinned).compact();
            all.push_back(Frames::Batch(batch));
            at += end;
            continue;
        }
        let header = header_at(bytes, at)?;
        if header & CONTROL_BIT == 0 {
            return None;
        }
        let end = at + LENGTH_PREFIX + (header & !CONTROL_BIT) as usize;
        let control = Control::decode(link, bytes.get(at + LENGTH_PREFIX..end)?);
        all.push_back(Frames::Control(control.ok()??));
        at = end;
    }
    Some(all)
}
