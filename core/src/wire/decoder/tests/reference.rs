//! The decoder beside the specification: what PROTOCOL.md says of a whole stream, and what the
//! decoder makes of the same stream in reads. Public interface only: the fuzz targets use this
//! file too, and say with `super::` where the decoder is to be found.

use super::{Decoded, Decoder, DecoderConfig, FirstBytes, ProtocolError, Role, SpareBuffers};
use alloc::vec::Vec;

/// The most memory that a decoder asks for before anything has arrived, in bytes.
const FIRST_READ: usize = 2048;

/// What a whole stream comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) role: Option<Role>,
    /// The frames of all batches, one after the other.
    pub(super) frames: Vec<u8>,
    pub(super) messages: usize,
    pub(super) end: Result<(), ProtocolError>,
}

impl Account {
    fn new() -> Self {
        Self {
            role: None,
            frames: Vec::new(),
            messages: 0,
            end: Ok(()),
        }
    }

    fn ended(mut self, error: ProtocolError) -> Self {
        self.end = Err(error);
        self
    }
}

/// What PROTOCOL.md says of `stream`, worked out from the whole of it. `limit` is the longest
/// role line allowed.
pub(super) fn specified(stream: &[u8], limit: usize) -> Account {
    let mut account = Account::new();
    let line = stream.split_inclusive(|&byte| byte == b'\n').next();
    let line = line.unwrap_or(&[]);
    let looked_at = line.len().min(limit.saturating_add(1));
    for length in 1..=looked_at {
        if !may_become_a_role_line(&line[..length]) {
            return account.ended(ProtocolError::UnknownRole(FirstBytes::NONE));
        }
    }
    let is_whole = line.ends_with(b"\n");
    if line.len() - usize::from(is_whole) > limit {
        return account.ended(ProtocolError::RoleLineTooLong { limit });
    }
    if stream.is_empty() {
        return account;
    }
    if !is_whole {
        return account.ended(ProtocolError::TruncatedRoleLine);
    }
    let mut rest = &stream[line.len()..];
    account.role = Some(match line[0] {
        b'P' => Role::Producer,
        _ => Role::Consumer,
    });
    if account.role == Some(Role::Consumer) {
        return match rest {
            [] => account,
            _ => account.ended(ProtocolError::UnexpectedData),
        };
    }
    while let Some((prefix, after)) = rest.split_first_chunk() {
        let length = u32::from_be_bytes(*prefix);
        if length > 1_048_576 {
            return account.ended(ProtocolError::FrameTooLarge { length });
        }
        let Some((body, next)) = after.split_at_checked(length as usize) else {
            break;
        };
        account.frames.extend_from_slice(prefix);
        account.frames.extend_from_slice(body);
        account.messages += 1;
        rest = next;
    }
    match rest {
        [] => account,
        _ => account.ended(ProtocolError::TruncatedFrame),
    }
}

/// Whether `bytes` are a role line, or more bytes can make one of them: in this version, or in a
/// later one that has options.
fn may_become_a_role_line(bytes: &[u8]) -> bool {
    [&b"PRODUCER"[..], b"CONSUMER"].into_iter().any(|word| {
        let line = |end: &[u8]| [word, end].concat().starts_with(bytes);
        let has_options = bytes.starts_with(&[word, b" "].concat());
        line(b"\n") || line(b"\r\n") || line(b" ") || has_options && !bytes.ends_with(b"\n")
    })
}

/// What a decoder makes of `stream`, read in pieces of these sizes (over and over).
///
/// Along the way it holds the decoder to its other promises: memory that follows what has
/// arrived, a role that comes first and once, no empty batch, an error that stays, and a
/// connection that may be parked between any two reads (here: after those of an even size).
pub(super) fn decoded(stream: &[u8], sizes: &[usize], config: DecoderConfig) -> Account {
    let mut decoder = Decoder::new(config);
    let mut account = Account::new();
    let mut spares = SpareBuffers::default();
    let mut rest = stream;
    for &size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let arrived = stream.len() - rest.len();
        let buf = decoder.recv_buf_from(&mut spares);
        let (len, capacity) = (buf.len(), buf.capacity());
        assert!(len < capacity, "no room for a single byte");
        assert!(
            capacity <= FIRST_READ + 3 * arrived,
            "{capacity} bytes of memory after {arrived}"
        );
        let (piece, after) = rest.split_at(size.min(rest.len()));
        buf.extend_from_slice(piece);
        rest = after;
        if let Err(error) = take_all(&mut decoder, &mut account) {
            if error == ProtocolError::UnknownRole(FirstBytes::NONE) {
                return account.ended(error);
            }
            assert_eq!(decoder.next(), Err(error), "the error stays");
            decoder.recv_buf().extend_from_slice(rest);
            assert_eq!(decoder.next(), Err(error), "the error stays");
            assert_eq!(decoder.finish(), Err(error), "the error stays");
            return account.ended(without_first_bytes(error, stream));
        }
        if size % 2 == 0 {
            decoder.park(&mut spares);
        }
    }
    account.end = decoder.finish();
    account
}

/// The error without the bytes that it carries, which depend on the cut of the stream. They are those
/// that it begins with.
fn without_first_bytes(error: ProtocolError, stream: &[u8]) -> ProtocolError {
    let ProtocolError::UnknownRole(first) = error else {
        return error;
    };
    assert!(!first.as_bytes().is_empty() && stream.starts_with(first.as_bytes()));
    ProtocolError::UnknownRole(FirstBytes::NONE)
}

/// Takes everything that has been decoded so far.
fn take_all(decoder: &mut Decoder, account: &mut Account) -> Result<(), ProtocolError> {
    while let Some(decoded) = decoder.next()? {
        match decoded {
            Decoded::Role(role) => {
                assert_eq!(account.role.replace(role), None, "one role, once");
                assert_eq!(account.messages, 0, "the role comes first");
            }
            // The reference knows version 1 alone, in which that is no role.
            Decoded::Options(_) | Decoded::BadOptions(_) => {
                return Err(ProtocolError::UnknownRole(FirstBytes::NONE));
            }
            Decoded::Control(_) => unreachable!("that takes options"),
            Decoded::Batch(batch) => {
                assert!(!batch.is_empty(), "a batch of nothing");
                assert_eq!(batch.bodies().count(), batch.messages());
                account.messages += batch.messages();
                account.frames.extend_from_slice(batch.as_bytes());
            }
        }
    }
    Ok(())
}
