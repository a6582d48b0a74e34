//! What is kept of messages: all of them, or their lengths and a hash of each.

use super::file::Malformed;
use super::step::Digest;
use message_queue_core::Write;
use message_queue_core::wire::{Encoder, FrameBatch, LENGTH_PREFIX, MAX_FRAME_BODY, Piece};
use serde::Deserialize;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use twox_hash::XxHash3_64;

/// The bytes that say how long a body is.
const LENGTH: usize = size_of::<u32>();

/// The most bytes of a hash that stand for a body. A shorter body has as many as itself.
const HASH: usize = 8;

/// The most bytes of what stands for one message.
pub(super) const STAND_IN_MESSAGE: usize = LENGTH + HASH;

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
/// With [`Payloads::Hash`] the recorder replaces each message by a *stand-in*, a short message: the
/// length of the body (u32, big-endian) and the first bytes of its hash, at most 8 and no more than
/// the body has. The replay feeds the core bodies of the same lengths that begin with those bytes
/// and are zero after them; so the place of every message in what the core writes can be compared,
/// and the core, which never looks into bodies, does the same.
#[derive(Debug)]
pub enum Kept {
    /// Messages as they are.
    Whole,
    /// A body is hashed under this key: while recording.
    Hashed(RandomState),
    /// The front of a body is its hash: while replaying.
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

    /// What is kept of a write: of all its messages, and of what is said between them. How they are divided into batches does not matter.
    pub fn digest(&self, write: &Write) -> Digest {
        let mut hasher = XxHash3_64::new();
        for piece in write.pieces() {
            match piece {
                Piece::Messages(batch) => hasher.write(self.keep(batch).as_bytes()),
                Piece::Control(bytes) => hasher.write(bytes),
                Piece::Check(bytes) if matches!(self, Self::Whole) => hasher.write(bytes),
                // It would tell something of the messages, and those of a replay are others.
                Piece::Check(bytes) => hasher.write_usize(bytes.len()),
            }
        }
        Digest {
            count: write.count(),
            hash: hasher.finish(),
        }
    }

    /// What is written in place of a batch.
    pub(super) fn keep(&self, batch: &FrameBatch) -> FrameBatch {
        if matches!(self, Self::Whole) {
            return batch.clone();
        }
        let mut stand_ins = Encoder::new();
        for body in batch.bodies() {
            let hashed = body.len().min(HASH);
            let mut stand_in = [0; STAND_IN_MESSAGE];
            stand_in[..LENGTH].copy_from_slice(&(body.len() as u32).to_be_bytes());
            stand_in[LENGTH..][..hashed].copy_from_slice(&self.hash(&body)[..hashed]);
            let pushed = stand_ins.push(&stand_in[..LENGTH + hashed]);
            pushed.expect("a stand-in is short");
        }
        stand_ins.take()
    }

    /// The hash of a body, as many bytes of it as the body has.
    fn hash(&self, body: &[u8]) -> [u8; HASH] {
        match self {
            Self::Whole | Self::Fronts => {
                let mut front = [0; HASH];
                let length = body.len().min(HASH);
                front[..length].copy_from_slice(&body[..length]);
                front
            }
            Self::Hashed(key) => {
                let mut hasher = key.build_hasher();
                hasher.write(body);
                hasher.finish().to_be_bytes()
            }
        }
    }

    /// The batch that a replay has in the place of what was written for one.
    pub(super) fn replayed(&self, kept: &FrameBatch) -> Result<FrameBatch, Malformed> {
        if matches!(self, Self::Whole) {
            return Ok(kept.clone());
        }
        let mut frames = Vec::new();
        for stand_in in kept.bodies() {
            let (length, hash) = stand_in.split_first_chunk().ok_or(Malformed::StandIn)?;
            let length = u32::from_be_bytes(*length) as usize;
            let end = frames.len() + LENGTH_PREFIX + length;
            if length > MAX_FRAME_BODY || hash.len() != length.min(HASH) || end > MOST_MADE_UP {
                return Err(Malformed::StandIn);
            }
            frames.extend_from_slice(&stand_in);
            frames.resize(end, 0);
        }
        FrameBatch::parse(frames.into()).map_err(|_| Malformed::StandIn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(messages: &[&str]) -> FrameBatch {
        FrameBatch::encode(messages).unwrap()
    }

    #[test]
    fn full_keeps_every_byte() {
        let batch = batch(&["", "a", "a longer message"]);
        let kept = Kept::Whole.keep(&batch);
        assert_eq!(Kept::Whole.replayed(&kept), Ok(batch));
    }

    #[test]
    fn hash_keeps_lengths_and_nothing_that_was_said() {
        let batch = batch(&["", "abc", "a secret of some length"]);
        let kept = Kept::recording(Payloads::Hash).keep(&batch);
        assert_eq!(kept.byte_len(), 3 * (4 + 4) + 3 + 8);
        let replayed = Kept::Fronts.replayed(&kept).unwrap();
        let lengths = |batch: &FrameBatch| batch.bodies().map(|it| it.len()).collect::<Vec<_>>();
        assert_eq!(lengths(&replayed), lengths(&batch));
        assert_ne!(replayed, batch);
        // What stands for a message stands for it when it is replayed and kept again.
        assert_eq!(Kept::Fronts.keep(&replayed), kept);
        // The key is another in every recording.
        assert_ne!(Kept::recording(Payloads::Hash).keep(&batch), kept);
    }

    #[test]
    fn the_replay_has_the_digest_of_the_recording_however_it_is_cut() {
        let (first, second) = (batch(&["one", "two"]), batch(&["a message", ""]));
        let whole = batch(&["one", "two", "a message", ""]);
        for payloads in [Payloads::Full, Payloads::Hash] {
            let recording = Kept::recording(payloads);
            let replaying = Kept::replaying(payloads);
            let digest = recording.digest(&Write::from(vec![first.clone(), second.clone()]));
            let replayed = replaying.replayed(&recording.keep(&whole)).unwrap();
            assert_eq!(replaying.digest(&Write::from(vec![replayed])), digest);
            let swapped = Write::from(vec![second.clone(), first.clone()]);
            assert_ne!(recording.digest(&swapped), digest);
        }
    }

    #[test]
    fn what_stands_for_no_message_is_malformed() {
        let too_long = (MAX_FRAME_BODY as u32 + 1).to_be_bytes();
        for stand_in in [
            &b"abc"[..],
            &[0, 0, 0, 3, 1, 2],
            &[0, 0, 0, 3, 1, 2, 3, 4],
            &[&too_long[..], &[0; 8]].concat(),
        ] {
            let kept = FrameBatch::encode([stand_in]).unwrap();
            assert_eq!(Kept::Fronts.replayed(&kept), Err(Malformed::StandIn));
        }
    }
}
