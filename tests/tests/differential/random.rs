//! A seed becomes a script.
//!
//! The script is random; what comes of it is not. Each step is waited for, and where there is too
//! little room for all that is sent, a step is one write that is read in one piece, so that it is
//! known what is dropped.

use crate::script::{Action, Script};
use message_queue_core::wire::LENGTH_PREFIX;
use message_queue_core::{Config, DeliveryMode, Overflow};
use message_queue_tests::frames::frames;
use message_queue_tests::random::SplitMix64;

/// What a decoder has room for at any time: one write of so many bytes is read in one piece.
const ONE_READ: usize = 1024;

/// The script of a seed.
pub(crate) fn script(seed: u64) -> Script {
    let mut random = SplitMix64::new(seed);
    let tight = random.one_in(2);
    let mut generator = Generator {
        script: Script::new(config(&mut random, tight)),
        random,
        tight,
        clients: 0,
        producers: Vec::new(),
        consumers: Vec::new(),
        waiting: 0,
        blocked: Vec::new(),
        unread: 0,
    };
    for _ in 0..40 {
        generator.step();
    }
    generator.end();
    generator.script
}

fn config(random: &mut SplitMix64, tight: bool) -> Config {
    let mut config = Config {
        max_consumers: 1 + random.below(3),
        ..Config::default()
    };
    if random.one_in(2) {
        config.delivery = DeliveryMode::Queue;
    }
    if random.one_in(2) {
        config.overflow = Overflow::Block;
    }
    if random.one_in(2) {
        config.write_bytes = 1 + random.below(5000);
    }
    if tight {
        config.queue_capacity = 1 + random.below(8);
        config.consumer_backlog = 1 + random.below(8);
        config.write_bytes = 1 + random.below(200);
    }
    config
}

struct Generator {
    random: SplitMix64,
    script: Script,
    /// There is too little room for all that is sent.
    tight: bool,
    clients: usize,
    /// Producers, each with what is still to come of a frame that it has begun to send.
    producers: Vec<(usize, Vec<u8>)>,
    consumers: Vec<usize>,
    /// Messages that wait in a queue without a consumer.
    waiting: usize,
    /// Producers that are not read from, until a consumer comes.
    blocked: Vec<(usize, Vec<u8>)>,
    /// Frames that they have sent since.
    unread: u64,
}

impl Generator {
    fn step(&mut self) {
        match self.random.below(13) {
            0 | 1 => self.consumer_comes(),
            2 => self.producer_comes(),
            3..8 => self.producer_sends(),
            8 => self.producer_goes(),
            9 => self.consumer_goes(),
            10 => self.blocked_producer_sends(),
            _ => self.offender_comes_and_goes(),
        }
    }

    fn consumer_comes(&mut self) {
        let read_now = std::mem::take(&mut self.unread);
        let client = self.connect("CONSUMER", read_now);
        if self.consumers.len() == self.script.config.max_consumers {
            return;
        }
        self.consumers.push(client);
        let queue = self.script.config.delivery == DeliveryMode::Queue;
        self.script.shared |= queue && self.consumers.len() > 1;
        self.waiting = 0;
        self.producers.append(&mut self.blocked);
    }

    fn producer_comes(&mut self) {
        let client = self.connect("PRODUCER", 0);
        self.producers.push((client, Vec::new()));
    }

    /// A client connects and sends its role line, in pieces; for that, so many frames are taken.
    fn connect(&mut self, word: &str, frames: u64) -> usize {
        let client = self.next_client();
        let line = word.to_owned() + if self.random.one_in(2) { "\n" } else { "\r\n" };
        let mut actions = vec![Action::Connect];
        self.send_in_pieces(client, line.as_bytes(), &mut actions);
        self.script.step(actions, frames, 1);
        client
    }

    /// While others wait for room a driver need not read from anybody: nobody else sends then.
    fn producer_sends(&mut self) {
        if !self.blocked.is_empty() {
            return self.blocked_producer_sends();
        }
        let Some((client, mut bytes)) = self.random.take_one(&mut self.producers) else {
            return self.producer_comes();
        };
        let frames_ahead = u64::from(!bytes.is_empty());
        let messages = self.messages();
        bytes.extend(frames(&messages));
        let mut actions = Vec::new();
        let mut rest = Vec::new();
        if self.tight {
            actions.push(Action::send(client, bytes));
        } else {
            rest = self.begin_another(&mut bytes);
            self.send_in_pieces(client, &bytes, &mut actions);
        }
        self.script
            .step(actions, messages.len() as u64 + frames_ahead, 0);
        if self.fills_the_queue(messages.len()) {
            self.blocked.push((client, rest));
        } else {
            self.producers.push((client, rest));
        }
    }

    fn blocked_producer_sends(&mut self) {
        if let Some((client, _)) = self.blocked.last() {
            let (client, messages) = (*client, self.messages());
            self.unread += messages.len() as u64;
            self.script
                .step(vec![Action::send(client, frames(&messages))], 0, 0);
        }
    }

    /// Whether a queue without a consumer has no room for all of this, so that its producer waits.
    fn fills_the_queue(&mut self, messages: usize) -> bool {
        let Config {
            delivery,
            overflow,
            queue_capacity,
            ..
        } = self.script.config;
        if delivery == DeliveryMode::Broadcast || !self.consumers.is_empty() {
            return false;
        }
        self.waiting += messages;
        overflow == Overflow::Block && messages > 0 && self.waiting > queue_capacity
    }

    /// Messages that are sent in one go: of any size where there is room for any.
    fn messages(&mut self) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        let mut room = ONE_READ;
        for _ in 0..self.random.below(30) {
            let size = match self.random.below(if self.tight { 20 } else { 40 }) {
                0 => 0,
                20..24 => self.random.below(10_000),
                24 => self.random.below(1 << 20),
                _ => self.random.below(64),
            };
            room = room.saturating_sub(LENGTH_PREFIX + size);
            if self.tight && room == 0 {
                break;
            }
            messages.push(self.random.bytes(size));
        }
        messages
    }

    /// Adds the front of one more frame, perhaps, and returns the rest of it.
    fn begin_another(&mut self, bytes: &mut Vec<u8>) -> Vec<u8> {
        if self.random.one_in(2) {
            return Vec::new();
        }
        let size = 1 + self.random.below(3000);
        let mut front = frames([self.random.bytes(size)]);
        let rest = front.split_off(1 + self.random.below(front.len() - 1));
        bytes.extend(front);
        rest
    }

    fn producer_goes(&mut self) {
        if let Some((client, _)) = self.random.take_one(&mut self.producers) {
            self.goes(client);
        }
    }

    fn consumer_goes(&mut self) {
        if let Some(client) = self.random.take_one(&mut self.consumers) {
            self.goes(client);
        }
    }

    fn goes(&mut self, client: usize) {
        let last = if self.random.one_in(2) {
            Action::Reset
        } else {
            Action::HalfClose
        };
        self.script.step(vec![last(client)], 0, 1);
    }

    /// Somebody connects who does not keep to the protocol, whose last byte gives it away.
    fn offender_comes_and_goes(&mut self) {
        let client = self.next_client();
        let mut actions = vec![Action::Connect];
        let (mut frames_taken, mut outcomes) = (0, 1);
        match self.random.below(6) {
            0 => actions.push(Action::send(client, "PRODUCERS")),
            1 => actions.push(Action::send(client, format!("PRODUCER {:x>56}", ""))),
            2 => actions.extend([Action::send(client, "CONSU"), Action::HalfClose(client)]),
            3 if self.consumers.is_empty() => actions.push(Action::Reset(client)),
            3 => {
                actions.push(Action::send(client, "CONSUMER\nx"));
                let refused = self.consumers.len() == self.script.config.max_consumers;
                outcomes = if refused { 1 } else { 2 };
            }
            // While others wait for room, it would wait too.
            _ if !self.blocked.is_empty() => actions.push(Action::Reset(client)),
            oversize_or_cut => {
                let mut bytes = b"PRODUCER\n".to_vec();
                if self.fills_the_queue(1) {
                    self.waiting -= 1;
                } else {
                    bytes.extend(frames(["whole"]));
                    frames_taken = 1;
                }
                outcomes = 2;
                if oversize_or_cut == 4 {
                    bytes.extend([0x00, 0x10, 0x00, 0x01]);
                    actions.push(Action::send(client, bytes));
                } else {
                    bytes.extend([0, 0, 0, 9, b'c', b'u', b't']);
                    actions.extend([Action::send(client, bytes), Action::HalfClose(client)]);
                }
            }
        }
        self.script.step(actions, frames_taken, outcomes);
    }

    /// Whoever is blocked is freed by a consumer, or ended when the drain runs out of time. Where there
    /// is room, the last messages are sent in the moment before the drain.
    fn end(&mut self) {
        if !self.blocked.is_empty() && self.random.one_in(2) {
            self.consumer_comes();
        }
        // The drain of a queue waits for a consumer, if need be to its end.
        if self.consumers.is_empty() {
            self.script.drain = std::time::Duration::from_secs(1);
        }
        if !self.tight
            && let Some((client, rest)) = self.producers.pop()
        {
            self.script
                .last
                .push(Action::send(client, [rest, frames(["last", ""])].concat()));
        }
    }

    fn next_client(&mut self) -> usize {
        self.clients += 1;
        self.clients - 1
    }

    fn send_in_pieces(&mut self, client: usize, mut bytes: &[u8], actions: &mut Vec<Action>) {
        while !bytes.is_empty() {
            let most = if self.random.one_in(2) {
                10
            } else {
                bytes.len()
            };
            let (piece, rest) = bytes.split_at(bytes.len().min(1 + self.random.below(most)));
            actions.push(Action::send(client, piece));
            bytes = rest;
            if actions.len() > 20 {
                actions.push(Action::send(client, rest));
                return;
            }
        }
    }
}
