//! What stands where in the database. Numbers in keys are big-endian, so that keys are in their order.
//!
//! | key | value |
//! |---|---|
//! | `f` | the format: 1 |
//! | `t` name | a topic: its number, the life of its sequences, and the first that is kept |
//! | `m` number, sequence | messages as they were appended, in one piece |
//! | `g` number, name | how far a group has got |
//! | `p` number, name | how far a producer has got |

use bytes::Bytes;
use message_queue_core::store::Run;
use message_queue_core::wire::FrameBatch;
use message_queue_core::wire::control::{Mark, Origin};
use serde::{Deserialize, Serialize};

/// The format that this version reads and writes.
pub(super) const FORMAT: u32 = 1;

/// Where the format stands.
pub(super) const FORMAT_KEY: &[u8] = b"f";

/// What a topic's name follows.
pub(super) const TOPICS: u8 = b't';

/// What is not as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what stands in the database is not what was written there")]
pub(super) struct Damaged;

/// A topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TopicEntry {
    /// What its keys begin with.
    pub(super) number: u32,
    pub(super) epoch: u64,
    /// The first sequence that is kept, or the next one.
    pub(super) first: u64,
}

/// A producer. The last sequence that it has published says who did so longest ago.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProducerEntry {
    pub(super) last: u64,
    pub(super) session: String,
    pub(super) position: u64,
}

/// The key of a topic.
pub(super) fn topic(name: &str) -> Vec<u8> {
    [&[TOPICS], name.as_bytes()].concat()
}

/// The key of the piece that begins with this sequence.
pub(super) fn run(number: u32, sequence: u64) -> Vec<u8> {
    [&prefix(b'm', number)[..], &sequence.to_be_bytes()].concat()
}

/// The sequence in the key of a piece of this topic.
pub(super) fn sequence(number: u32, key: &[u8]) -> Option<u64> {
    let sequence = key.strip_prefix(&prefix(b'm', number))?;
    Some(u64::from_be_bytes(sequence.try_into().ok()?))
}

/// What the keys of a topic's groups begin with.
pub(super) fn groups(number: u32) -> [u8; 5] {
    prefix(b'g', number)
}

/// What the keys of a topic's producers begin with.
pub(super) fn producers(number: u32) -> [u8; 5] {
    prefix(b'p', number)
}

/// The key of a group or a producer.
pub(super) fn named(prefix: [u8; 5], name: &str) -> Vec<u8> {
    [&prefix[..], name.as_bytes()].concat()
}

fn prefix(kind: u8, number: u32) -> [u8; 5] {
    let [a, b, c, d] = number.to_be_bytes();
    [kind, a, b, c, d]
}

/// What stands at the front of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// When it was published, in milliseconds since 1970; no earlier than what is before it.
    pub(super) published: u64,
    /// All bytes of messages that the topic had got before it.
    pub(super) before: u64,
    pub(super) messages: u32,
    /// The size of its origin, if it has one.
    origin: u32,
}

/// The size of a [`Head`].
const HEAD: usize = 24;

impl Head {
    /// The head of a piece.
    pub(super) fn read(value: &[u8]) -> Result<Self, Damaged> {
        let mut fields = value.get(..HEAD).ok_or(Damaged)?;
        let mut take = |bytes: usize| {
            let (field, rest) = fields.split_at(bytes);
            fields = rest;
            field
                .iter()
                .fold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        let (published, before) = (take(8), take(8));
        let mut take_u32 = || u32::try_from(take(4)).map_err(|_| Damaged);
        Ok(Self {
            published,
            before,
            messages: take_u32()?,
            origin: take_u32()?,
        })
    }

    /// How many bytes of messages the topic had got with it.
    pub(super) const fn after(&self, value: &[u8]) -> u64 {
        let frames = value.len().saturating_sub(HEAD + self.origin as usize);
        self.before + frames as u64
    }
}

/// A piece as it is written.
pub(super) fn encode_run(
    published: u64,
    before: u64,
    batch: &FrameBatch,
    origin: Option<&Origin>,
) -> Vec<u8> {
    let origin = origin.map(encode).unwrap_or_default();
    let mut value = Vec::with_capacity(HEAD + origin.len() + batch.byte_len());
    value.extend_from_slice(&published.to_be_bytes());
    value.extend_from_slice(&before.to_be_bytes());
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a piece is of 4 MiB at most, and an origin of a few names"
    )]
    for number in [batch.messages() as u32, origin.len() as u32] {
        value.extend_from_slice(&number.to_be_bytes());
    }
    value.extend_from_slice(&origin);
    value.extend_from_slice(batch.as_bytes());
    value
}

/// The piece that was written like this.
pub(super) fn decode_run(first: u64, value: &[u8]) -> Result<Run, Damaged> {
    let head = Head::read(value)?;
    let rest = &value[HEAD..];
    let (origin, frames) = rest.split_at_checked(head.origin as usize).ok_or(Damaged)?;
    let origin = match origin {
        [] => None,
        origin => Some(Box::new(decode(origin)?)),
    };
    let batch = FrameBatch::parse(Bytes::copy_from_slice(frames)).map_err(|_| Damaged)?;
    if batch.messages() != head.messages as usize {
        return Err(Damaged);
    }
    Ok(Run {
        first,
        published: head.published,
        batch,
        origin,
        attempts: 0,
    })
}

/// Any other value as it is written.
pub(super) fn encode(value: &(impl Serialize + ?Sized)) -> Vec<u8> {
    postcard::to_extend(value, Vec::new()).expect("numbers, texts and lists of them can be written")
}

/// The value that was written like this.
pub(super) fn decode<'a, T: Deserialize<'a>>(value: &'a [u8]) -> Result<T, Damaged> {
    postcard::from_bytes(value).map_err(|_| Damaged)
}

/// A producer as it is written, with the last sequence that it has published.
pub(super) fn encode_producer(mark: &Mark, last: u64) -> Vec<u8> {
    encode(&ProducerEntry {
        last,
        session: mark.session.clone(),
        position: mark.position,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_read_as_it_was_written_and_one_that_is_cut_is_not() {
        let batch = FrameBatch::encode(["a", "", "bc"]).expect("messages");
        let origin = Origin {
            sequence: 7,
            failures: 3,
            published: 5,
            topic: "jobs".into(),
            group: "billing".into(),
            reason: "it failed".into(),
        };
        for origin in [None, Some(&origin)] {
            let value = encode_run(9, 100, &batch, origin);
            let head = Head::read(&value).expect("whole");
            assert_eq!((head.published, head.before, head.messages), (9, 100, 3));
            assert_eq!(head.after(&value), 100 + batch.byte_len() as u64);
            let run = decode_run(4, &value).expect("whole");
            assert_eq!((run.first, run.published, &run.batch), (4, 9, &batch));
            assert_eq!(run.origin.as_deref(), origin);
            for end in 0..value.len() {
                assert_eq!(decode_run(4, &value[..end]), Err(Damaged), "{end}");
            }
        }
    }

    #[test]
    fn keys_are_in_the_order_of_sequences_and_apart_from_other_topics() {
        let keys = [
            run(1, 0),
            run(1, 255),
            run(1, 256),
            run(1, u64::MAX),
            run(2, 1),
        ];
        assert!(keys.is_sorted());
        assert_eq!(sequence(1, &keys[2]), Some(256));
        assert_eq!(sequence(2, &keys[2]), None);
        assert!(named(producers(1), "zebra") < producers(2).to_vec());
    }
}
