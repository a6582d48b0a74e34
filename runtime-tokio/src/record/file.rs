//! One file of a recording.
//!
//! ```text
//! message-queue recording format=8 program=0.2.0 payloads=hash run=1795437696000 file=3 missed=0\n
//! ┌────────┬──────────┬──────────────────────┐
//! │ length │ checksum │ body: `length` bytes │  a record; the first is a checkpoint
//! └────────┴──────────┴──────────────────────┘
//!   4        4
//! ```
//!
//! `length` and `checksum` are big-endian; the checksum is the low half of the XXH3 (64 bits) of the
//! body. The body is, as postcard writes it, a list of batches of messages, each as [`Kept`] has it,
//! and a [`Record`], in which a message of 4 bytes stands for each batch: its place in the list, from
//! 0. So what many share is written once, and messages are in one place.

use super::header::FORMAT;
use super::memory::Piece;
use super::payload::Kept;
use super::step::Step;
use message_queue_core::store::Request;
use message_queue_core::wire::FrameBatch;
use message_queue_core::{Checkpoint, Output};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use twox_hash::XxHash3_64;

/// The bytes of a record before its body.
pub(super) const RECORD_HEAD: usize = 8;

/// What this program cannot read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Another file.
    #[error("this is not a recording")]
    NotARecording,
    /// A recording of another version.
    #[error(
        "a recording with format={format}, written by version {program}; this version reads \
         format={FORMAT} alone: replay it with the version that wrote it"
    )]
    OtherFormat {
        /// Its format.
        format: String,
        /// The version of the program that wrote it.
        program: String,
    },
    /// A field of the first line is missing or is not what it can be.
    #[error("the first line has no valid {0}")]
    Header(&'static str),
    /// The checksum of a record is right, and yet it says nothing that this program knows.
    #[error("this is no record: {0}")]
    Record(#[from] postcard::Error),
    /// A record goes on after its end.
    #[error("a record is {0} bytes longer than what it says")]
    TooLong(usize),
    /// The place of a batch in the record is not there.
    #[error("a batch of messages is missing")]
    NoBatch,
    /// What stands for a message does not say what a message can be.
    #[error("what stands for a message stands for none")]
    StandIn,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// The state of the core: the first record of a file.
    Checkpoint(Box<Checkpoint>),
    /// What happened next.
    Step(Step),
    /// The last record: the next file goes on from here.
    Full,
    /// The last record: what happened next is not recorded.
    Gap(StopCause),
    /// The last record: the broker has ended in an orderly way.
    End,
}

/// Why something was not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopCause {
    /// The disk was slower than the broker, for longer than the queue allows for.
    SlowDisk,
    /// More messages waited than a checkpoint may hold: a quarter of the ring.
    LargeState,
    /// A single step would have taken more than half of the ring.
    LargeStep,
}

impl fmt::Display for StopCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SlowDisk => "the disk is slower than the broker",
            Self::LargeState => "more waits than a quarter of RECORD_BYTES holds",
            Self::LargeStep => "one step takes more than half of RECORD_BYTES",
        })
    }
}

/// The checksum of a record's body.
pub(super) fn checksum(body: &[u8]) -> u32 {
    XxHash3_64::oneshot(body) as u32
}

impl Record {
    /// Puts the record into `out` as it stands in a file, in place of what was there.
    pub(super) fn write(mut self, kept: &Kept, out: &mut Vec<u8>) {
        let mut batches = Vec::new();
        let mut places = BTreeMap::new();
        self.each_batch(&mut |batch| {
            let place = *places
                .entry(Piece::of(batch.as_bytes()))
                .or_insert_with(|| {
                    batches.push(kept.keep(batch));
                    batches.len() as u32 - 1
                });
            *batch = FrameBatch::encode([place.to_be_bytes()]).expect("a place is short");
        });
        out.clear();
        out.extend_from_slice(&[0; RECORD_HEAD]);
        *out = postcard::to_extend(&(batches, self), mem::take(out))
            .expect("memory takes what every record has");
        let (head, body) = out.split_at_mut(RECORD_HEAD);
        head[..4].copy_from_slice(&(body.len() as u32).to_be_bytes());
        head[4..].copy_from_slice(&checksum(body).to_be_bytes());
    }

    /// Reads a record's body.
    pub(super) fn read(body: &[u8], kept: &Kept) -> Result<Self, Malformed> {
        let ((batches, mut record), rest) =
            postcard::take_from_bytes::<(Vec<FrameBatch>, Self)>(body)?;
        if !rest.is_empty() {
            return Err(Malformed::TooLong(rest.len()));
        }
        let batches = batches.iter().map(|batch| kept.replayed(batch));
        let batches: Vec<FrameBatch> = batches.collect::<Result<_, _>>()?;
        let mut all = Ok(());
        record.each_batch(&mut |batch| match named(batch, &batches) {
            Some(named) => *batch = named.clone(),
            None => all = Err(Malformed::NoBatch),
        });
        all.map(|()| record)
    }

    /// Shows `visit` every batch of messages in it.
    fn each_batch(&mut self, visit: &mut dyn FnMut(&mut FrameBatch)) {
        match self {
            Self::Checkpoint(checkpoint) => checkpoint.each_batch(visit),
            Self::Step(step) => {
                for call in &mut step.calls {
                    call.each_batch(visit);
                }
                for output in &mut step.outputs {
                    if let Output::Store {
                        request: Request::Append { batch, .. },
                        ..
                    } = output
                    {
                        visit(batch);
                    }
                }
            }
            Self::Full | Self::Gap(_) | Self::End => {}
        }
    }
}

/// The batch whose place in the record stands in for it.
fn named<'a>(place: &FrameBatch, batches: &'a [FrameBatch]) -> Option<&'a FrameBatch> {
    let place = place.bodies().next()?;
    let place = u32::from_be_bytes(*place.first_chunk()?);
    batches.get(place as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Payloads;
    use crate::record::size;
    use crate::record::step::Call;
    use bytes::Bytes;
    use message_queue_core::names::{Name, Pattern, TopicName};
    use message_queue_core::store::{Answer, Request, Run};
    use message_queue_core::wire::control::{Control, Outcome, Range};
    use message_queue_core::wire::{Decoder, DecoderConfig, Role};
    use message_queue_core::{
        Broker, CloseReason, Config, ConnId, Count, DeliveryMode, DropReason, GroupId, Input, Now,
        Output, Overflow, ProtocolError, TopicId, TopicRule, TopicsConfig,
    };
    use proptest::prelude::*;
    use proptest::sample::Index;
    use std::time::Duration;

    /// A broker of which every part is in use.
    fn busy(delivery: DeliveryMode) -> Broker {
        let mut broker = Broker::new(Config {
            delivery,
            overflow: Overflow::Block,
            queue_capacity: 2,
            consumer_backlog: 2,
            ..Config::default()
        });
        let now = Now::at(Duration::new(7, 999_999_999));
        for (conn, role) in [
            (1, Role::Consumer),
            (2, Role::Producer),
            (3, Role::Consumer),
        ] {
            broker.handle_input(ConnId(conn), Input::Opened, now);
            broker.handle_input(ConnId(conn), Input::Role(role), now);
        }
        broker.handle_input(ConnId(4), Input::Opened, now);
        for messages in [
            &["secret one", "secret two"][..],
            &["secret three, which is longer"],
            &["", "secret 4", "secret 5"],
            &["secret 6", "secret 7"],
        ] {
            let batch = FrameBatch::encode(messages).unwrap();
            broker.handle_input(ConnId(2), Input::Batch(batch), now);
            if !broker.stats().parked.is_zero() {
                break;
            }
        }
        broker.handle_input(ConnId(1), Input::Written(3), now);
        broker.drain(Duration::from_secs(9), now);
        while broker.poll_output().is_some() {}
        assert!(!broker.backlog().is_zero() && !broker.stats().parked.is_zero());
        broker
    }

    /// A step with every kind of input and of output.
    fn everything() -> Step {
        let conn = ConnId(300);
        let count = Count::new(3, 1 << 20);
        let batch = FrameBatch::encode(["a", "", "bcd"]).unwrap();
        let inputs = [
            Input::Opened,
            Input::Role(Role::Producer),
            Input::Batch(batch),
            Input::Written(70_000),
            Input::Sealed { written: 1 << 40 },
            Input::Broke(ProtocolError::FrameTooLarge { length: 1 << 30 }),
            Input::PeerClosed,
            Input::Heard,
            Input::Control(Control::Settle {
                outcome: Outcome::Failed,
                delay_ms: 5,
                ranges: vec![Range { from: 1, to: 300 }],
            }),
        ];
        let mut calls: Vec<Call> = inputs.map(|input| Call::Input(conn, input)).into();
        calls.extend([Call::Timeout, Call::Drain(Duration::from_millis(1500))]);
        let stored = FrameBatch::encode(["stored"]).unwrap();
        let run = Run {
            first: 7,
            published: 1 << 41,
            batch: stored.clone(),
            origin: None,
            attempts: 0,
        };
        let answer = Answer::Fetched {
            group: GroupId::Shared,
            runs: vec![run],
            next: 8,
        };
        calls.extend([Call::Answer(TopicId(1), answer), Call::StoreFailed]);
        let hash = u64::MAX - 1;
        let write = super::super::step::Digest { count, hash };
        let reason = CloseReason::WriteTimeout;
        let outputs = vec![
            Output::Write { conn, write },
            Output::Farewell {
                conn,
                bytes: Bytes::from_static(b"ERROR draining\n"),
            },
            Output::Store {
                topic: TopicId(1),
                request: Request::Append {
                    first: 9,
                    published: 1 << 41,
                    batch: stored,
                    producers: Vec::new(),
                    origin: None,
                },
            },
            Output::Close { conn, reason },
            Output::Dropped {
                topic: TopicName::new("jobs").ok(),
                group: Some(GroupId::Own(conn)),
                name: None,
                reason: DropReason::Shutdown,
                count,
            },
        ];
        Step {
            now: Now::at(Duration::new(1, 5)),
            calls,
            outputs,
            ended: true,
        }
    }

    fn body(record: &Record, kept: &Kept) -> Vec<u8> {
        let mut out = Vec::new();
        record.clone().write(kept, &mut out);
        out.split_off(RECORD_HEAD)
    }

    #[test]
    fn records_come_back_and_those_cut_short_do_not() {
        for record in [
            Record::Checkpoint(Box::new(busy(DeliveryMode::Broadcast).checkpoint())),
            Record::Checkpoint(Box::new(busy(DeliveryMode::Queue).checkpoint())),
            Record::Step(everything()),
            Record::Gap(StopCause::LargeState),
            Record::Full,
            Record::End,
        ] {
            let mut body = body(&record, &Kept::Whole);
            for length in 0..body.len() {
                let cut = Record::read(&body[..length], &Kept::Whole);
                assert!(cut.is_err(), "{length} bytes of {record:?}");
            }
            assert_eq!(Record::read(&body, &Kept::Whole), Ok(record));
            body.push(0);
            assert_eq!(
                Record::read(&body, &Kept::Whole),
                Err(Malformed::TooLong(1))
            );
        }
        assert!(Record::read(b"X", &Kept::Whole).is_err());
    }

    #[test]
    fn with_hashes_everything_but_the_messages_comes_back() {
        for delivery in [DeliveryMode::Broadcast, DeliveryMode::Queue] {
            let broker = busy(delivery);
            let record = Record::Checkpoint(Box::new(broker.checkpoint()));
            let body = body(&record, &Kept::recording(Payloads::Hash));
            assert!(!body.windows(6).any(|bytes| bytes == b"secret"));
            let Ok(Record::Checkpoint(replayed)) = Record::read(&body, &Kept::Fronts) else {
                panic!("a checkpoint was written");
            };
            let restored = Broker::restore(*replayed);
            restored.check_invariants();
            assert_eq!(restored.stats(), broker.stats());
            assert!(restored.consumers().eq(broker.consumers()));
            assert!(restored.groups().eq(broker.groups()));
        }
    }

    /// Looks at it as it is when its outputs were polled.
    fn assert_bounded(broker: &Broker) {
        broker.check_invariants();
        let mut broker = broker.clone();
        while broker.poll_output().is_some() {}
        for payloads in [Payloads::Full, Payloads::Hash] {
            let record = Record::Checkpoint(Box::new(broker.checkpoint()));
            let bytes = body(&record, &Kept::recording(payloads)).len() as u64;
            let most = size::of_checkpoint(&broker, payloads);
            assert!(bytes <= most, "{bytes} bytes, and at most {most} were told");
        }
    }

    #[test]
    fn no_checkpoint_is_larger_than_was_told_before() {
        assert_bounded(&Broker::new(Config::default()));
        for delivery in [DeliveryMode::Broadcast, DeliveryMode::Queue] {
            assert_bounded(&busy(delivery));
        }
    }

    /// The longest name that ends in this number.
    fn long_name(number: usize) -> String {
        format!("{number:x>200}")
    }

    /// A broker that version 2 is spoken to, in many of everything but messages.
    #[test]
    fn no_checkpoint_is_larger_than_was_told_before_in_version_2() {
        let rule = TopicRule {
            groups: Some(
                (0..20)
                    .map(|it| Name::new(&long_name(it)).unwrap())
                    .collect(),
            ),
            ..TopicRule::new(Pattern::new(&long_name(0)).unwrap())
        };
        let mut broker = Broker::new(Config {
            max_consumers: 100,
            started_ms: 1 << 41,
            topics: TopicsConfig {
                rules: vec![rule; 3],
                ..TopicsConfig::default()
            },
            ..Config::default()
        });
        assert_bounded(&broker);
        let now = Now::at(Duration::new(1 << 30, 999_999_999));
        let mut introduce = |conn: usize, line: &str| {
            let conn = ConnId((1 << 62) + conn as u64);
            let mut decoder = Decoder::new(DecoderConfig::default());
            decoder.recv_buf().extend_from_slice(line.as_bytes());
            let decoded = decoder.next().unwrap().unwrap();
            broker.handle_input(conn, Input::Opened, now);
            broker.handle_input(conn, decoded.into(), now);
            conn
        };
        let mut producers = Vec::new();
        for number in 0..30 {
            let (name, session) = (long_name(number), "s".repeat(64));
            // Five bytes are left for `.dead`.
            let topic = &name[5..];
            producers.push(introduce(
                3 * number,
                &format!(
                    "PRODUCER topic={topic} client={name} producer={name} session={session}\n"
                ),
            ));
            introduce(
                3 * number + 1,
                &format!("CONSUMER topic={topic} client={name} group={name} ack=1\n"),
            );
            introduce(
                3 * number + 2,
                &format!("CONSUMER topic={} client={name} group={name} ack=1\n", ">"),
            );
        }
        assert_bounded(&broker);
        for conn in &producers {
            for _ in 0..3 {
                let batch = FrameBatch::encode(["", "", "a"]).unwrap();
                broker.handle_input(*conn, Input::Batch(batch), now);
            }
        }
        assert_bounded(&broker);
        // All is rejected, so that there are dead letters.
        let consumers: Vec<_> = broker.consumers().map(|it| it.conn).collect();
        let mut written = BTreeMap::new();
        for _ in 0..4 {
            while let Some(output) = broker.poll_output() {
                if let Output::Write { conn, write } = output {
                    let total: &mut u64 = written.entry(conn).or_default();
                    *total += write.byte_len() as u64;
                    broker.handle_input(conn, Input::Written(*total), now);
                }
            }
            assert_bounded(&broker);
        }
        for conn in consumers {
            let view = broker.consumers().find(|it| it.conn == conn).unwrap();
            if view.unsettled.is_zero() {
                continue;
            }
            let settle = Control::Settle {
                outcome: Outcome::Reject,
                delay_ms: 0,
                ranges: vec![Range::new(1, view.unsettled.messages).unwrap()],
            };
            broker.handle_input(conn, Input::Control(settle), now);
            assert_bounded(&broker);
        }
        assert!(broker.stats().flow.dead.messages > 100);
        for conn in producers {
            broker.handle_input(conn, Input::PeerReset, now);
            broker.handle_input(conn, Input::Sealed { written: 0 }, now);
        }
        assert_bounded(&broker);
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn any_bytes_are_a_record_or_are_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..100),
            change in any::<(Index, u8)>(),
            payloads in prop_oneof![Just(Payloads::Full), Just(Payloads::Hash)],
        ) {
            let kept = Kept::replaying(payloads);
            let _ = Record::read(&bytes, &kept);
            let busy = busy(DeliveryMode::Broadcast).checkpoint();
            let mut body = body(&Record::Checkpoint(Box::new(busy)), &kept);
            let place = change.0.index(body.len());
            body[place] = change.1;
            let _ = Record::read(&body, &kept);
        }
    }
}
