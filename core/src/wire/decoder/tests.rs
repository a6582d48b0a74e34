//! However a stream is cut into reads, the decoder makes of it what the specification says, in
//! memory that follows what has arrived.

mod reference;

use super::*;
use crate::wire::read_buffer::MIN_READ;
use crate::wire::{Encoder, FirstBytes, LENGTH_PREFIX, MAX_FRAME, MAX_FRAME_BODY};
use alloc::vec;
use alloc::vec::Vec;
use proptest::collection::vec as vec_of;
use proptest::prelude::*;
use reference::{decoded, specified};

/// Small enough for a random line to be too long.
const ROLE_LINE_BYTES: usize = 24;

const CONFIG: DecoderConfig = DecoderConfig {
    role_line_bytes: ROLE_LINE_BYTES,
    read_bytes: 8192,
};

/// An error stays, whatever comes after it, and nothing that comes after it is kept.
fn assert_sticky(decoder: &mut Decoder, error: ProtocolError) {
    for more in ["", "PRODUCER\n", "\0\0\0\0"] {
        decoder.recv_buf().extend_from_slice(more.as_bytes());
        assert_eq!(decoder.next(), Err(error));
        assert_eq!(
            decoder.buffer.bytes.capacity(),
            0,
            "a failed decoder holds memory"
        );
        assert_eq!(decoder.finish(), Err(error));
    }
}

/// A decoder that has seen a producer's role line.
fn producer(config: DecoderConfig) -> Decoder {
    let mut decoder = Decoder::new(config);
    decoder
        .recv_buf()
        .extend_from_slice(Role::Producer.line().as_bytes());
    assert_eq!(decoder.next(), Ok(Some(Decoded::Role(Role::Producer))));
    decoder
}

/// Reads the next of `bytes`, as many as there is room for, and nothing else.
fn read(decoder: &mut Decoder, bytes: &mut &[u8]) -> usize {
    let buf = decoder.recv_buf();
    let (piece, rest) = bytes.split_at(bytes.len().min(buf.capacity() - buf.len()));
    buf.extend_from_slice(piece);
    *bytes = rest;
    piece.len()
}

/// Reads `bytes` to their end; the batches they make.
fn batches(decoder: &mut Decoder, mut bytes: &[u8]) -> Vec<FrameBatch> {
    let mut batches = Vec::new();
    while !bytes.is_empty() {
        read(decoder, &mut bytes);
        while let Some(decoded) = decoder.next().expect("valid frames") {
            match decoded {
                Decoded::Batch(batch) => batches.push(batch),
                other @ (Decoded::Role(_)
                | Decoded::Options(_)
                | Decoded::BadOptions(_)
                | Decoded::Control(_)) => panic!("no frames: {other:?}"),
            }
        }
    }
    batches
}

/// `count` frames with bodies of `length` bytes.
fn frames(count: usize, length: usize) -> Vec<u8> {
    let mut encoder = Encoder::new();
    let body = vec![7; length];
    for _ in 0..count {
        encoder.push(&body).expect("a valid length");
    }
    encoder.take().into_bytes().into()
}

fn role_line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => Just(b"PRODUCER\n".to_vec()),
        3 => Just(b"PRODUCER\r\n".to_vec()),
        2 => Just(b"CONSUMER\n".to_vec()),
        1 => Just(b"CONSUMER\r\n".to_vec()),
        1 => Just(b"PRODUCER\r\r\n".to_vec()),
        1 => vec_of(any::<u8>(), 0..2 * ROLE_LINE_BYTES),
        // Options, in lengths on both sides of the limit.
        1 => (9..ROLE_LINE_BYTES + 3).prop_map(|length| {
            let mut line = b"PRODUCER ".to_vec();
            line.resize(length, b'x');
            line.push(b'\n');
            line
        }),
        // A role line with one wrong byte.
        1 => (0..10_usize, any::<u8>()).prop_map(|(at, byte)| {
            let mut line = b"CONSUMER\r\n".to_vec();
            line[at] = byte;
            line
        }),
    ]
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (1..20_usize).prop_map(|count| frames(count, 0)),
        8 => (1..20_usize, 1..60_usize).prop_map(|(count, length)| frames(count, length)),
        2 => (1..3_usize, 1000..9000_usize).prop_map(|(count, length)| frames(count, length)),
        1 => (MAX_FRAME_BODY as u32 + 1..).prop_map(|length| length.to_be_bytes().to_vec()),
        1 => vec_of(any::<u8>(), 0..12),
    ]
}

/// A role line and frames, mostly valid, in half of the cases cut off somewhere.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let whole = (role_line(), vec_of(piece(), 0..8))
        .prop_map(|(line, pieces)| [line, pieces.concat()].concat());
    (whole, any::<bool>(), any::<proptest::sample::Index>()).prop_map(|(mut stream, cut, at)| {
        if cut {
            stream.truncate(at.index(stream.len() + 1));
        }
        stream
    })
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    let size = prop_oneof![4 => 1..12_usize, 2 => 12..300_usize, 1 => 300..20_000_usize];
    vec_of(size, 1..12)
}

proptest! {
    #[test]
    fn any_cut_of_any_stream_into_reads_gives_what_is_specified(
        stream in stream(),
        sizes in sizes(),
    ) {
        let specified = specified(&stream, ROLE_LINE_BYTES);
        prop_assert_eq!(&decoded(&stream, &[usize::MAX], CONFIG), &specified, "in one read");
        prop_assert_eq!(&decoded(&stream, &[1], CONFIG), &specified, "byte by byte");
        prop_assert_eq!(&decoded(&stream, &sizes, CONFIG), &specified);
    }
}

#[test]
fn frames_ahead_of_an_error_are_reported_before_it() {
    let mut decoder = producer(CONFIG);
    decoder
        .recv_buf()
        .extend_from_slice(b"\0\0\0\x01a\0\0\0\0\xff\xff\xff\xff");
    let batch = FrameBatch::encode(["a", ""]).expect("small");
    assert_eq!(decoder.next(), Ok(Some(Decoded::Batch(batch))));
    let error = ProtocolError::FrameTooLarge { length: u32::MAX };
    assert_eq!(decoder.next(), Err(error));
    assert_sticky(&mut decoder, error);
}

#[test]
fn a_single_byte_from_a_consumer_is_an_error() {
    let account = decoded(b"CONSUMER\nx", &[usize::MAX], CONFIG);
    assert_eq!(account.role, Some(Role::Consumer));
    assert_eq!(account.end, Err(ProtocolError::UnexpectedData));
}

#[test]
fn the_largest_length_announced_allocates_nothing() {
    let mut decoder = producer(DecoderConfig::default());
    decoder
        .recv_buf()
        .extend_from_slice(&(MAX_FRAME_BODY as u32).to_be_bytes());
    assert_eq!(decoder.next(), Ok(None));
    assert!(decoder.recv_buf().capacity() <= MIN_READ);
}

#[test]
fn a_parked_connection_holds_no_memory() {
    let mut decoder = producer(CONFIG);
    let all = frames(1000, 100);
    assert_eq!(count(&batches(&mut decoder, &all)), 1000);
    decoder.park(&mut SpareBuffers::default());
    assert_eq!(
        (decoder.buffer.bytes.capacity(), decoder.buffer.allocated),
        (0, 0)
    );

    // It goes on as if nothing had been.
    assert_eq!(count(&batches(&mut decoder, &all)), 1000);
}

#[test]
fn parking_keeps_part_of_a_frame() {
    let mut decoder = producer(CONFIG);
    let frame = frames(1, 100);
    assert_eq!(batches(&mut decoder, &frame[..50]), []);
    decoder.park(&mut SpareBuffers::default());
    assert_eq!(count(&batches(&mut decoder, &frame[50..])), 1);
}

#[test]
fn a_long_frame_makes_the_buffer_grow_by_doubling() {
    let mut decoder = producer(CONFIG);
    let frame = frames(1, MAX_FRAME_BODY);
    let mut rest = &frame[..];
    let (mut grown, mut capacity) = (0, 0);
    while !rest.is_empty() {
        read(&mut decoder, &mut rest);
        let arrived = decoder.buffer.bytes.len();
        if decoder.buffer.bytes.capacity() != capacity {
            capacity = decoder.buffer.bytes.capacity();
            grown += 1;
        }
        assert!(
            capacity <= 2 * arrived.max(CONFIG.read_bytes),
            "{capacity} bytes for {arrived}"
        );
        if !rest.is_empty() {
            assert_eq!(decoder.next(), Ok(None));
        }
    }
    assert!(grown <= (MAX_FRAME / MIN_READ).ilog2() + 2, "{grown} times");
    let Ok(Some(Decoded::Batch(batch))) = decoder.next() else {
        panic!("the frame is whole")
    };
    assert_eq!(batch.as_bytes(), &frame);
}

#[test]
fn a_busy_connection_does_not_keep_the_buffer_of_a_long_frame() {
    let mut decoder = producer(CONFIG);
    drop(batches(&mut decoder, &frames(1, MAX_FRAME_BODY)));
    assert!(decoder.buffer.allocated > MAX_FRAME);
    drop(batches(&mut decoder, &frames(20_000, 100)));
    assert!(
        decoder.buffer.allocated <= 2 * CONFIG.read_bytes,
        "{} bytes",
        decoder.buffer.allocated
    );
}

#[test]
fn a_large_part_of_a_buffer_is_handed_on_uncopied_and_a_sliver_is_copied() {
    let mut decoder = producer(CONFIG);
    let first = decoder.recv_buf().as_ptr();
    let spare = decoder.buffer.bytes.capacity();
    decoder
        .buffer
        .bytes
        .extend_from_slice(&frames(1, spare - LENGTH_PREFIX - 1));
    let Ok(Some(Decoded::Batch(large))) = decoder.next() else {
        panic!("a whole frame")
    };
    assert_eq!(large.as_bytes().as_ptr(), first);

    let second = decoder.recv_buf().as_ptr();
    decoder.buffer.bytes.extend_from_slice(&frames(1, 1));
    let Ok(Some(Decoded::Batch(sliver))) = decoder.next() else {
        panic!("a whole frame")
    };
    assert_ne!(sliver.as_bytes().as_ptr(), second);
    assert!(large.is_compact() && sliver.is_compact());
}

#[test]
fn more_than_there_was_room_for_is_accounted_for() {
    let mut decoder = producer(CONFIG);
    decoder.recv_buf().extend_from_slice(&frames(1, 100_000));
    let Ok(Some(Decoded::Batch(_))) = decoder.next() else {
        panic!("a whole frame")
    };
    assert!(decoder.buffer.allocated >= 100_000);
}

#[test]
fn the_size_of_the_reads_follows_what_arrives() {
    let mut decoder = producer(CONFIG);
    let flood = frames(1000, 100);
    let mut rest = &flood[..];
    let (mut largest, mut target) = (0, 0);
    while !rest.is_empty() {
        largest = largest.max(read(&mut decoder, &mut rest));
        decoder.next().expect("valid frames");
        target = target.max(decoder.buffer.target);
    }
    assert_eq!(target, CONFIG.read_bytes);
    // All but the partial frame that was there before.
    assert!(largest > CONFIG.read_bytes - 104, "{largest}");

    for _ in 0..10 {
        batches(&mut decoder, &frames(1, 0));
    }
    assert_eq!(decoder.buffer.target, MIN_READ);
}

#[test]
fn the_extremes_of_the_bounds_are_usable() {
    for (role_line_bytes, read_bytes) in [(8, 0), (8, 1), (usize::MAX, usize::MAX)] {
        let mut decoder = Decoder::new(DecoderConfig {
            role_line_bytes,
            read_bytes,
        });
        let mut line = Role::Consumer.line().as_bytes();
        while !line.is_empty() {
            assert_ne!(read(&mut decoder, &mut line), 0);
            if !line.is_empty() {
                assert_eq!(decoder.next(), Ok(None));
            }
        }
        assert_eq!(decoder.next(), Ok(Some(Decoded::Role(Role::Consumer))));
        assert_eq!(decoder.finish(), Ok(()));
    }
}

#[test]
fn without_a_role_line_the_first_byte_is_a_frame() {
    let mut decoder = Decoder::frames_only(CONFIG);
    assert_eq!(decoder.finish(), Ok(()));
    decoder
        .recv_buf()
        .extend_from_slice(b"\0\0\0\x01a\0\0\0\0\0");
    let batch = FrameBatch::encode(["a", ""]).expect("small messages");
    assert_eq!(decoder.next(), Ok(Some(Decoded::Batch(batch))));
    assert_eq!(decoder.next(), Ok(None));
    assert_eq!(decoder.finish(), Err(ProtocolError::TruncatedFrame));
}

fn count(batches: &[FrameBatch]) -> usize {
    batches.iter().map(FrameBatch::messages).sum()
}
