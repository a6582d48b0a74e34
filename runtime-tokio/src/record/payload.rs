//! What is kept of messages: all of them, or their lengths and a hash of each.

use super::codec::{In, Malformed, Out};
use bytes::Bytes;
use message_queue_core::Write;
use message_queue_core::wire::{FrameBatch, LENGTH_PREFIX, MAX_FRAME_BODY};
use serde::Deserialize;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use twox_hash::XxHash3_64;

/// The most bytes of a hash that stand for a body. A shorter body has as many as itself.
const STAND_IN: usize = 8;

/// The most bytes of one batch that are made up for a replay: far more than one read brings, and
/// no more than memory has room for, whatever a file says.
const MOST_MADE_UP: usize = 64 << 20;

/// What a recording keeps of each message: `RECORD_PAYLOADS`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Payloads {
    /// All of it.
    Full,
    /// Its length, and 8 bytes of a hash that cannot be computed without a key that is kept in
    /// memory alone and is another in every run.
    Hash,
}

impl Payloads {
    /// The word for it, in settings and in recordings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Hash => "hash",
        }
    }
}

impl fmt::Display for Payloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How messages are turned into what is kept of them.
///
/// With [`Payloads::Hash`] the recorder replaces a body by a *stand-in*: the first bytes of its
/// hash, at most 8 and no more than the body has. The replay feeds the core bodies of the same
/// length that begin with their stand-ins and are zero after it; so the place of every message in
/// what the core writes can be compared, and the core, which never looks into bodies, does the same.
#[derive(Debug)]
pub enum Kept {
    /// Messages as they are.
    Whole,
    /// The stand-in of a body is its hash under this key: while recording.
    Hashed(RandomState),
    /// The stand-in of a body is its front: while replaying.
    Fronts,
}

impl Kept {
    /// For a recorder. The key of the hash is new.
    pub fn recording(payloads: Payloads) -> Self {
        match payloads {
            Payloads::Full => Self::Whole,
            Payloads::Hash => Self::Hashed(RandomState::new()),
        }
    }

    /// For a replay.
    pub const fn replaying(payloads: Payloads) -> Self {
        match payloads {
            Payloads::Full => Self::Whole,
            Payloads::Hash => Self::Fronts,
        }
    }

    /// A digest of what is kept of all messages of a write, in order. How they are divided into
    /// batches does not matter.
    pub(super) fn digest(&self, write: &Write) -> u64 {
        let mut digest = XxHash3_64::new();
        for batch in write.batches() {
            if matches!(self, Self::Whole) {
                digest.write(batch.as_bytes());
                continue;
            }
            for body in batch.bodies() {
                digest.write(&(body.len() as u64).to_be_bytes());
                digest.write(self.stand_in(&body).as_ref());
            }
        }
        digest.finish()
    }

    fn stand_in(&self, body: &[u8]) -> [u8; STAND_IN] {
        let mut stand_in = [0; STAND_IN];
        let length = body.len().min(STAND_IN);
        match self {
            Self::Whole | Self::Fronts => stand_in[..length].copy_from_slice(&body[..length]),
            Self::Hashed(key) => {
                let mut hasher = key.build_hasher();
                hasher.write(body);
                stand_in[..length].copy_from_slice(&hasher.finish().to_be_bytes()[..length]);
            }
        }
        stand_in
    }

    pub(super) fn put_batch(&self, out: &mut Out, batch: &FrameBatch) {
        match self {
            Self::Whole => {
                out.size(batch.byte_len());
                out.raw(batch.as_bytes());
            }
            Self::Hashed(_) | Self::Fronts => {
                out.size(batch.messages());
                for body in batch.bodies() {
                    out.size(body.len());
                    out.raw(&self.stand_in(&body)[..body.len().min(STAND_IN)]);
                }
            }
        }
    }

    pub(super) fn batch(&self, input: &mut In<'_>) -> Result<FrameBatch, Malformed> {
        let malformed = Malformed("batch of messages");
        let frames = match self {
            Self::Whole => {
                let length = input.size()?;
                Bytes::copy_from_slice(input.raw(length)?)
            }
            Self::Hashed(_) | Self::Fronts => {
                let messages = input.list(|input| {
                    let length = input.size()?;
                    if length > MAX_FRAME_BODY {
                        return Err(malformed);
                    }
                    Ok((length, input.raw(length.min(STAND_IN))?))
                })?;
                let frames = |(length, _): &(usize, &[u8])| LENGTH_PREFIX + length;
                if messages.iter().map(frames).sum::<usize>() > MOST_MADE_UP {
                    return Err(malformed);
                }
                stand_in_frames(&messages).into()
            }
        };
        FrameBatch::parse(frames).map_err(|_| malformed)
    }
}

/// Frames whose bodies have these lengths (at most [`MAX_FRAME_BODY`]) and begin like this.
fn stand_in_frames(messages: &[(usize, &[u8])]) -> Vec<u8> {
    let lengths = messages.iter().map(|(length, _)| LENGTH_PREFIX + length);
    let mut frames = Vec::with_capacity(lengths.sum());
    for (length, stand_in) in messages {
        frames.extend_from_slice(&(*length as u32).to_be_bytes());
        let body = frames.len();
        frames.extend_from_slice(stand_in);
        frames.resize(body + length, 0);
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(messages: &[&str]) -> FrameBatch {
        FrameBatch::encode(messages).unwrap()
    }

    fn kept(kept: &Kept, batch: &FrameBatch) -> Vec<u8> {
        let mut out = Out::default();
        kept.put_batch(&mut out, batch);
        out.0
    }

    #[test]
    fn full_keeps_every_byte() {
        let batch = batch(&["", "a", "a longer message"]);
        let bytes = kept(&Kept::Whole, &batch);
        assert_eq!(Kept::Whole.batch(&mut In(&bytes)), Ok(batch));
    }

    #[test]
    fn hash_keeps_lengths_and_nothing_that_was_said() {
        let batch = batch(&["", "abc", "a secret of some length"]);
        let recording = Kept::recording(Payloads::Hash);
        let bytes = kept(&recording, &batch);
        assert_eq!(bytes.len(), 1 + 1 + (1 + 3) + (1 + 8));
        let stand_in = Kept::Fronts.batch(&mut In(&bytes)).unwrap();
        let lengths = |batch: &FrameBatch| batch.bodies().map(|it| it.len()).collect::<Vec<_>>();
        assert_eq!(lengths(&stand_in), lengths(&batch));
        assert_ne!(stand_in, batch);
        // What stands for a message stands for it when it is replayed and kept again.
        assert_eq!(kept(&Kept::Fronts, &stand_in), bytes);
        // The key is another in every recording.
        assert_ne!(kept(&Kept::recording(Payloads::Hash), &batch), bytes);
    }

    #[test]
    fn the_replay_has_the_digest_of_the_recording_however_it_is_cut() {
        let (first, second) = (batch(&["one", "two"]), batch(&["a message", ""]));
        let whole = batch(&["one", "two", "a message", ""]);
        for payloads in [Payloads::Full, Payloads::Hash] {
            let recording = Kept::recording(payloads);
            let replaying = Kept::replaying(payloads);
            let digest = recording.digest(&Write::new(vec![first.clone(), second.clone()]));
            let replayed = replaying.batch(&mut In(&kept(&recording, &whole))).unwrap();
            assert_eq!(replaying.digest(&Write::new(vec![replayed])), digest);
            let swapped = Write::new(vec![second.clone(), first.clone()]);
            assert_ne!(recording.digest(&swapped), digest);
        }
    }

    #[test]
    fn a_body_that_no_frame_can_hold_is_malformed() {
        let mut out = Out::default();
        out.size(1);
        out.size(MAX_FRAME_BODY + 1);
        out.raw(&[0; 8]);
        assert!(Kept::Fronts.batch(&mut In(&out.0)).is_err());
    }
}
