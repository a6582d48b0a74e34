//! A message as Kafka has it: the value is the body, the timestamp says when it was published, so any other client can read
//! and write it. A record that holds a batch has the frames as they are on the wire, and a header that says how many.

use crate::store::shared::{
    ORIGIN_FAILURES, ORIGIN_GROUP, ORIGIN_PUBLISHED, ORIGIN_REASON, ORIGIN_SEQUENCE, ORIGIN_TOPIC,
    Piece,
};
use message_queue_core::wire::control::Origin;
use message_queue_core::wire::{FrameBatch, MAX_FRAME_BODY};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};

/// How many frames the value is. Without it the value is one message.
const FRAMES: &str = "mq-frames";

/// The most bytes of frames in a record, unless a message alone is larger.
const MOST_FRAMES: usize = 512 << 10;

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// One message.
    Message,
    /// What was published together.
    Batch,
}

/// What is to be sent for a piece: values, and the headers beside each.
pub(super) fn encode<E>(
    piece: &Piece,
    holds: Holds,
    mut send: impl FnMut(&[u8], Option<OwnedHeaders>) -> Result<(), E>,
) -> Result<(), E> {
    if let Some(origin) = piece.origin.as_deref() {
        for body in piece.batch.bodies() {
            send(body.as_ref(), Some(headers(origin)))?;
        }
    } else if holds == Holds::Message || piece.batch.messages() == 1 {
        for body in piece.batch.bodies() {
            send(body.as_ref(), None)?;
        }
    } else {
        let mut rest = piece.batch.clone();
        while !rest.is_empty() {
            let record = rest.split_within(MOST_FRAMES);
            let frames = record.messages().to_string();
            let headers = with(OwnedHeaders::new_with_capacity(1), FRAMES, &frames);
            send(record.as_bytes(), Some(headers))?;
        }
    }
    Ok(())
}

fn with(headers: OwnedHeaders, key: &str, value: &str) -> OwnedHeaders {
    let value = Some(value.as_bytes());
    headers.insert(Header { key, value })
}

fn headers(origin: &Origin) -> OwnedHeaders {
    let mut headers = OwnedHeaders::new_with_capacity(6);
    for (name, value) in [
        (ORIGIN_TOPIC, origin.topic.as_str()),
        (ORIGIN_GROUP, &origin.group),
        (ORIGIN_REASON, &origin.reason),
        (ORIGIN_SEQUENCE, &origin.sequence.to_string()),
        (ORIGIN_FAILURES, &origin.failures.to_string()),
        (ORIGIN_PUBLISHED, &origin.published.to_string()),
    ] {
        headers = with(headers, name, value);
    }
    headers
}

/// What is in a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content<'a> {
    /// A message, and where it came from if it is a dead letter.
    Message(&'a [u8], Option<Box<Origin>>),
    /// What was published together.
    Batch(FrameBatch),
}

/// Why a record cannot be handed out.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("a message of {0} bytes is larger than a client may be sent")]
    TooLarge(usize),
    #[error("its frames are damaged")]
    Damaged,
}

/// Reads a record.
pub(super) fn decode<'a>(message: &'a BorrowedMessage<'_>) -> Result<Content<'a>, Unreadable> {
    let value = message.payload().unwrap_or_default();
    match message.headers() {
        None => content(value, |_| None),
        Some(headers) => content(value, |name| {
            let mut headers = headers.iter();
            headers.find(|it| it.key == name)?.value
        }),
    }
}

fn content<'a, 'h>(
    value: &'a [u8],
    header: impl Fn(&str) -> Option<&'h [u8]>,
) -> Result<Content<'a>, Unreadable> {
    let text = |name: &str| str::from_utf8(header(name)?).ok();
    let Some(frames) = text(FRAMES) else {
        return if value.len() > MAX_FRAME_BODY {
            Err(Unreadable::TooLarge(value.len()))
        } else {
            Ok(Content::Message(value, origin(text).map(Box::new)))
        };
    };
    let batch = FrameBatch::parse(value.to_vec().into()).ok();
    let is_whole = |it: &FrameBatch| !it.is_empty() && frames.parse() == Ok(it.messages());
    let batch = batch.filter(is_whole).ok_or(Unreadable::Damaged)?;
    Ok(Content::Batch(batch))
}

fn origin<'h>(text: impl Fn(&str) -> Option<&'h str>) -> Option<Origin> {
    Some(Origin {
        sequence: text(ORIGIN_SEQUENCE)?.parse().ok()?,
        failures: text(ORIGIN_FAILURES)?.parse().ok()?,
        published: text(ORIGIN_PUBLISHED)?.parse().ok()?,
        topic: text(ORIGIN_TOPIC)?.to_owned(),
        group: text(ORIGIN_GROUP)?.to_owned(),
        reason: text(ORIGIN_REASON)?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::shared::Pieces;

    /// The records of a piece, and what is read of each.
    fn round(
        bodies: &[&[u8]],
        origin: Option<Origin>,
        holds: Holds,
    ) -> Vec<(Vec<u8>, OwnedHeaders)> {
        let mut pieces = Pieces::default();
        let batch = FrameBatch::encode(bodies).unwrap();
        pieces.push(1, 7, batch, origin.map(Box::new));
        let mut records = Vec::new();
        let piece = pieces.waiting().next().unwrap();
        let sent: Result<(), ()> = encode(piece, holds, |value, headers| {
            records.push((value.to_vec(), headers.unwrap_or_default()));
            Ok(())
        });
        sent.unwrap();
        records
    }

    fn read<'a>((value, headers): &'a (Vec<u8>, OwnedHeaders)) -> Result<Content<'a>, Unreadable> {
        content(value, |name| {
            let mut headers = headers.iter();
            headers.find(|it| it.key == name)?.value
        })
    }

    #[test]
    fn a_message_is_the_value_alone() {
        let records = round(&[b"one", b""], None, Holds::Message);
        let values: Vec<_> = records.iter().map(|(value, _)| value.as_slice()).collect();
        assert_eq!(values, [b"one".as_slice(), b""]);
        assert!(records.iter().all(|(_, headers)| headers.count() == 0));
        assert_eq!(read(&records[0]), Ok(Content::Message(b"one", None)));
    }

    #[test]
    fn a_dead_letter_says_where_it_came_from_and_is_a_message_in_any_case() {
        let origin = Origin {
            sequence: 3,
            failures: 2,
            published: 5,
            topic: "jobs".into(),
            group: "workers".into(),
            reason: "failed".into(),
        };
        for holds in [Holds::Message, Holds::Batch] {
            let records = round(&[b"one"], Some(origin.clone()), holds);
            let expected = Content::Message(b"one", Some(Box::new(origin.clone())));
            assert_eq!(read(&records[0]), Ok(expected));
        }
    }

    #[test]
    fn a_batch_is_its_frames_in_records_that_are_not_large() {
        let large = vec![7; 400 << 10];
        let records = round(&[b"one", &large, &large, b"two"], None, Holds::Batch);
        assert_eq!(records.len(), 2);
        let read: Vec<_> = records.iter().map(read).collect();
        for (read, expected) in read
            .iter()
            .zip([[b"one", &large[..]], [&large[..], b"two"]])
        {
            let batch = FrameBatch::encode(expected).unwrap();
            assert_eq!(*read, Ok(Content::Batch(batch)));
        }
    }

    #[test]
    fn what_is_damaged_is_found() {
        let mut records = round(&[b"one", b"two"], None, Holds::Batch);
        let whole = records[0].0.clone();
        for damaged in [&whole[..13], &whole[..7], &[], &[0, 0, 0, 9, 1]] {
            records[0].0 = damaged.to_vec();
            assert_eq!(read(&records[0]), Err(Unreadable::Damaged), "{damaged:?}");
        }
        let large = (vec![0; MAX_FRAME_BODY + 1], OwnedHeaders::new());
        assert_eq!(read(&large), Err(Unreadable::TooLarge(MAX_FRAME_BODY + 1)));
    }
}
