//! The messages of a simulation: each says who sent it, and its bytes follow from that.
//!
//! Frames are built and taken apart here by hand. A simulated client that used the broker's own
//! decoder would share its mistakes.

use crate::rng::mix;
use bytes::{BufMut, Bytes, BytesMut};
use std::fmt;

/// The smallest body that has room for a name.
pub const NAMED: usize = 8;

/// Which message: the `sequence`-th (from 0) of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// The client that published it ([`Client::id`](crate::plan::Client::id)).
    pub client: u32,
    /// Which of its messages, over all its connections.
    pub sequence: u32,
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}#{}", self.client, self.sequence)
    }
}

/// What a body says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Named {
    /// It is this message, and its bytes are those that this message has at this length.
    Message(MessageId),
    /// It is too short to hold a name. All of a length are alike.
    Short,
    /// Its bytes are those of no message.
    Altered,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(id) => id.fmt(f),
            Self::Short => f.write_str("a short message"),
            Self::Altered => f.write_str("ALTERED BYTES"),
        }
    }
}

/// The body of a message that has `size` bytes.
pub fn body(id: MessageId, size: usize) -> Bytes {
    let mut body = BytesMut::with_capacity(size + NAMED);
    if size < NAMED {
        body.resize(size, SHORT);
        return body.freeze();
    }
    body.put_u32(id.client);
    body.put_u32(id.sequence);
    let word = filling(id, size);
    while body.len() < size {
        body.put_slice(&word);
    }
    body.truncate(size);
    body.freeze()
}

/// What the bodies of short messages are made of.
const SHORT: u8 = 0x5A;

fn filling(id: MessageId, size: usize) -> [u8; 8] {
    let name = u64::from(id.client) << 32 | u64::from(id.sequence);
    mix(name ^ (size as u64).rotate_left(40)).to_be_bytes()
}

/// Reads the name of a body and compares every byte of it.
pub fn name(body: &[u8]) -> Named {
    let Some((head, rest)) = body.split_first_chunk::<NAMED>() else {
        let intact = body.iter().all(|&byte| byte == SHORT);
        return if intact { Named::Short } else { Named::Altered };
    };
    let name = u64::from_be_bytes(*head);
    let id = MessageId {
        client: (name >> 32) as u32,
        sequence: (name & u64::from(u32::MAX)) as u32,
    };
    let word = filling(id, body.len());
    let intact = rest
        .chunks(word.len())
        .all(|part| *part == word[..part.len()]);
    if intact {
        Named::Message(id)
    } else {
        Named::Altered
    }
}

/// The frame of a body: a length and the body.
pub fn frame(body: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(4 + body.len());
    frame.put_u32(body.len() as u32);
    frame.put_slice(body);
    frame.freeze()
}

/// Puts the frames that a consumer receives together again from pieces of any size.
#[derive(Debug, Default)]
pub struct Reassembly {
    bytes: BytesMut,
}

impl Reassembly {
    /// Adds what was received.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole body.
    pub fn next_body(&mut self) -> Option<Bytes> {
        let length = u32::from_be_bytes(*self.bytes.first_chunk::<4>()?) as usize;
        if self.bytes.len() - 4 < length {
            return None;
        }
        let frame = self.bytes.split_to(4 + length).freeze();
        Some(frame.slice(4..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: MessageId = MessageId {
        client: 3,
        sequence: 70_000,
    };

    #[test]
    fn a_body_names_its_message() {
        for size in [8, 9, 15, 16, 17, 1000] {
            let body = body(ID, size);
            assert_eq!(body.len(), size);
            assert_eq!(name(&body), Named::Message(ID), "{size} bytes");
        }
        assert_eq!(name(&body(ID, 7)), Named::Short);
        assert_eq!(name(b""), Named::Short);
    }

    #[test]
    fn a_changed_byte_and_a_lost_one_are_seen() {
        let whole = body(ID, 40);
        for at in 0..whole.len() {
            let mut changed = whole.to_vec();
            changed[at] ^= 1;
            assert_eq!(name(&changed), Named::Altered, "byte {at}");
        }
        assert_eq!(name(&whole[..39]), Named::Altered);
        assert_eq!(name(&whole[1..]), Named::Altered);
        assert_eq!(name(b"abc"), Named::Altered);
    }

    #[test]
    fn frames_are_put_together_from_single_bytes() {
        let mut reassembly = Reassembly::default();
        let mut received = Vec::new();
        for body in [&b"ab"[..], b"", b"c"] {
            for byte in frame(body) {
                reassembly.push(&[byte]);
                received.extend(reassembly.next_body());
            }
        }
        assert_eq!(received, [&b"ab"[..], b"", b"c"]);
    }
}
