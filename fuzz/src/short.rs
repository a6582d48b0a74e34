//! Scripts in few bytes, so that every change of one is another script worth trying.
//!
//! ```text
//! settings: 0 modes  1 bounds
//! step:     0 what happens, and on which connection  1 how much
//! ```
//! Bytes that are missing count as zero, and all bytes mean something.

use crate::script::{Action, Bytes, Literal, Part, Reads, Script, Step};
use libfuzzer_sys::arbitrary::{self, Arbitrary, Unstructured};
use message_queue_core::wire::{DecoderConfig, MAX_FRAME};
use message_queue_core::{Config, ConnId, DeliveryMode, Overflow};
use std::fmt;
use std::time::Duration;

/// How many connections there are at a time: a step names one of these places.
const PLACES: usize = 8;

/// A quarter of the smallest backlog, to the byte: four of these frames fill one.
const QUARTER: usize = MAX_FRAME / 4 - 4;

/// The most steps; a longer script shows no more and is slow.
const MAX_STEPS: usize = 200;

/// A script that was written in few bytes.
pub struct ShortScript {
    /// What they stand for.
    pub script: Script,
}

impl Arbitrary<'_> for ShortScript {
    fn arbitrary(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        let script = script(bytes.bytes(bytes.len())?);
        Ok(Self { script })
    }
}

impl fmt::Debug for ShortScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.script.fmt(f)
    }
}

fn script(bytes: &[u8]) -> Script {
    let (settings, steps) = bytes.split_at(bytes.len().min(2));
    let at = |place: usize| settings.get(place).copied().unwrap_or(0);
    let mut writer = Writer::default();
    for step in steps.chunks(2).take(MAX_STEPS) {
        writer.step(step[0], step.get(1).copied().unwrap_or(0));
    }
    Script {
        config: config(at(0), at(1)),
        decoder: DecoderConfig {
            role_line_bytes: 16,
            read_bytes: 1 << (at(1) >> 5) << 4,
        },
        steps: writer.steps,
    }
}

fn config(modes: u8, bounds: u8) -> Config {
    let backlog = 1 << (bounds & 7);
    let mut config = Config {
        delivery: if modes & 1 == 0 {
            DeliveryMode::Broadcast
        } else {
            DeliveryMode::Queue
        },
        overflow: if modes & 2 == 0 {
            Overflow::Drop
        } else {
            Overflow::Block
        },
        max_connections: PLACES - 1,
        max_consumers: 1 + usize::from(modes >> 2 & 3),
        consumer_backlog: backlog,
        queue_capacity: backlog,
        backlog_bytes: MAX_FRAME,
        broker_bytes: 0,
        role_timeout: Duration::from_secs(3),
        write_timeout: Duration::from_secs(2),
        min_consumer_rate: usize::from(bounds >> 5) * 4,
        write_bytes: 1 << (modes >> 4),
        ..Config::default()
    };
    config.broker_bytes = config.least_broker_bytes() + usize::from(bounds >> 3 & 3) * QUARTER;
    config
}

#[derive(Default)]
struct Writer {
    steps: Vec<Step>,
    /// The connection that each place now stands for.
    places: [u64; PLACES],
    connections: u64,
    /// Which letter of the alphabet the next message consists of.
    messages: u8,
}

impl Writer {
    /// `what`: low 3 bits a place, high 5 bits what happens there. `much`: how much of it.
    fn step(&mut self, what: u8, much: u8) {
        let (place, amount) = (usize::from(what & 7), usize::from(much));
        match what >> 3 {
            0..=3 => self.arrives(place, b"CONSUMER\n", reads(much)),
            4..=6 => self.arrives(place, b"PRODUCER\n", reads(much)),
            7 => self.arrives(
                place,
                &b"PRODUCER\r\nand this"[..amount.min(18)],
                Reads::Whole,
            ),
            8..=12 => self.publishes(place, 1 + amount % 16, 3 + amount / 16, Reads::Whole),
            13 => self.publishes(place, 1 + amount % 4, QUARTER, Reads::Whole),
            14 => self.publishes(place, 1 + amount % 4, QUARTER + 1, Reads::FrameByFrame),
            15 => self.publishes(place, 1 + amount, amount % 3, Reads::FrameByFrame),
            16 => self.publishes(place, 1 + amount % 8, 5, Reads::At(vec![amount / 8])),
            17 => self.sends(place, vec![raw(&[0, 0, 0, 9, much])], Reads::Whole),
            18 if much & 1 == 1 => self.begins(place, 3 * QUARTER),
            18 => self.sends(place, vec![raw(&[0, much, much, 0])], Reads::Whole),
            19..=20 => self.on(place, Action::TakesAll),
            21 => self.on(place, Action::IsSealedLate),
            22 => self.on(place, Action::IsSealed),
            23..=24 => self.on(place, Action::Takes(1 + amount)),
            25 => self.on(place, Action::Takes(1 + amount * 4096)),
            26 => self.on(place, Action::Closes),
            27 if much & 1 == 1 => self.on(place, Action::IsEndedByOperator),
            27 => self.on(place, Action::Resets),
            28 if much & 1 == 1 => self.steps.push(Step::Purge),
            28 if much & 2 == 2 => self.on(place, Action::Stalls),
            28 => self.on(place, Action::HasNothingToRead),
            29 => self.steps.push(Step::PassUnnoticed(time(much))),
            30 => self.steps.push(Step::Pass(time(much))),
            _ => self.steps.push(Step::Drain(time(much))),
        }
    }

    fn arrives(&mut self, place: usize, line: &[u8], reads: Reads) {
        self.connections += 1;
        self.places[place] = self.connections;
        self.on(place, Action::Opens);
        self.sends(place, vec![raw(line)], reads);
    }

    fn publishes(&mut self, place: usize, messages: usize, length: usize, reads: Reads) {
        let mut parts = Vec::new();
        for _ in 0..messages {
            let letter = b'a' + self.messages;
            self.messages = (self.messages + 1) % 26;
            parts.push(Part::Frame(Literal {
                piece: vec![letter],
                times: length,
            }));
        }
        self.sends(place, parts, reads);
    }

    /// Sends so much of a largest frame, and not the rest.
    fn begins(&mut self, place: usize, length: usize) {
        let piece = b"!".to_vec();
        let body = Part::Raw(Literal {
            piece,
            times: length,
        });
        self.sends(place, vec![raw(b"\0\x10\0\0"), body], Reads::Whole);
    }

    fn sends(&mut self, place: usize, parts: Vec<Part>, reads: Reads) {
        self.on(place, Action::Sends(Bytes { parts, reads }));
    }

    fn on(&mut self, place: usize, action: Action) {
        self.steps
            .push(Step::On(ConnId(self.places[place]), action));
    }
}

fn raw(bytes: &[u8]) -> Part {
    Part::Raw(Literal::of(bytes))
}

fn reads(much: u8) -> Reads {
    match much % 8 {
        0..=4 => Reads::Whole,
        5 => Reads::ByteByByte,
        _ => Reads::At(vec![usize::from(much / 8)]),
    }
}

/// 0 to 6.375 s.
fn time(much: u8) -> Duration {
    Duration::from_millis(u64::from(much) * 25)
}
