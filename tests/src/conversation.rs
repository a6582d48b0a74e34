//! A conversation in wire version 2, over real sockets: what clients say, and what they are told.

use bytes::{BufMut, BytesMut};
use message_queue_core::wire::control::{Control, Link, Outcome, Range};
use message_queue_core::wire::{FrameReader, Received};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

/// A client with a socket that blocks.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    reader: FrameReader,
    /// Messages that have come and were not asked for yet.
    messages: VecDeque<Told>,
    /// The sequence of the next message, and which attempt it is.
    run: (u64, u32),
}

/// What a client is told, but for times, epochs and versions, and for how messages are cut into runs.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// The answer to its line.
    Line(String),
    /// A message.
    Message {
        /// Its sequence.
        sequence: u64,
        /// How often it was handed out, this time included.
        attempt: u32,
        /// What it says.
        text: String,
    },
    /// Anything else.
    Control(Control),
    /// The connection has ended.
    End,
}

impl Client {
    /// Connects and says its line.
    ///
    /// # Panics
    /// As all of these: if the broker does not listen, or says what cannot be understood.
    pub fn connect(addr: SocketAddr, link: Link, line: &str) -> Self {
        let mut stream = TcpStream::connect(addr).expect("it listens");
        stream.set_nodelay(true).expect("a TCP socket");
        stream.write_all(line.as_bytes()).expect("it reads");
        Self {
            stream,
            reader: FrameReader::new(link, 4096),
            messages: VecDeque::new(),
            run: (0, 0),
        }
    }

    /// Publishes messages.
    ///
    /// # Panics
    /// As above.
    pub fn publish<M: AsRef<[u8]>>(&mut self, messages: impl IntoIterator<Item = M>) {
        let bytes = crate::frames::frames(messages);
        self.stream.write_all(&bytes).expect("it reads");
    }

    /// Says something else.
    ///
    /// # Panics
    /// As above.
    pub fn say(&mut self, control: &Control) {
        let mut bytes = BytesMut::new();
        control.encode(&mut bytes);
        self.stream.write_all(&bytes).expect("it reads");
    }

    /// Says what became of some messages.
    ///
    /// # Panics
    /// As above.
    pub fn settle(&mut self, outcome: Outcome, from: u64, to: u64) {
        self.say(&Control::Settle {
            outcome,
            delay_ms: 0,
            ranges: vec![Range { from, to }],
        });
    }

    /// What it is told next.
    ///
    /// # Panics
    /// As above.
    #[expect(
        clippy::should_implement_trait,
        reason = "it never ends without saying so"
    )]
    pub fn next(&mut self) -> Told {
        loop {
            if let Some(message) = self.messages.pop_front() {
                return message;
            }
            match self.reader.next().expect("it can be understood") {
                Some(Received::Line(line)) => return Told::Line(lasting(&line)),
                Some(Received::Batch(batch)) => {
                    for (body, sequence) in batch.bodies().zip(self.run.0..) {
                        self.messages.push_back(Told::Message {
                            sequence,
                            attempt: self.run.1,
                            text: String::from_utf8_lossy(&body).into(),
                        });
                    }
                    self.run.0 += batch.messages() as u64;
                    continue;
                }
                Some(Received::Control(Control::Run { first, attempt, .. })) => {
                    self.run = (first, attempt);
                    continue;
                }
                Some(Received::Control(control)) => return Told::Control(control),
                None => {}
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                // A reset, too, is an end.
                Ok(0) | Err(_) => return Told::End,
                Ok(size) => self.reader.recv_buf().put_slice(&bytes[..size]),
            }
        }
    }

    /// What it is told up to the first thing that `is_last`.
    ///
    /// # Panics
    /// As above, and if that is more than any test tells.
    pub fn until(&mut self, is_last: impl Fn(&Told) -> bool) -> Vec<Told> {
        let mut told = Vec::new();
        while told.last().is_none_or(|it| !is_last(it)) {
            told.push(self.next());
            assert!(told.len() < 100, "{told:?}");
        }
        told
    }
}

/// A line without what is another each time, or in each version.
fn lasting(line: &str) -> String {
    let lasts = |word: &&str| !word.starts_with("epoch=") && !word.starts_with("server=");
    line.split(' ').filter(lasts).collect::<Vec<_>>().join(" ")
}

/// Waits for a position to be confirmed; how many steps it takes is a matter of time.
fn confirmed(producer: &mut Client, position: u64) -> Told {
    let is_last = |told: &Told| match told {
        Told::Control(Control::Confirmed { position: at, .. }) => *at == position,
        Told::Line(_) | Told::Message { .. } | Told::Control(_) | Told::End => panic!("{told:?}"),
    };
    producer.until(is_last).pop().expect("the last")
}

/// Handshakes, confirms, a name that is taken over, a group that outlives its member, failures, a return, a flush and
/// what is refused, with a broker in `queue` mode with defaults: what its clients are told.
///
/// # Panics
/// If the broker says what cannot be understood.
pub fn hold(addr: SocketAddr) -> String {
    let mut told: Vec<(&str, Told)> = Vec::new();
    let is_message = |number: u64| move |told: &Told| matches!(told, Told::Message { sequence, .. } if *sequence == number);
    let message = |number: u32| crate::frames::frames([format!("message {number}")]);

    let line = "CONSUMER topic=jobs group=workers ack=1 prefetch=2 heartbeat=0\n";
    let mut worker = Client::connect(addr, Link::ToConsumer, line);
    told.push(("worker", worker.next()));
    let named = "PRODUCER topic=jobs producer=p session=s heartbeat=0\n";
    let mut first = Client::connect(addr, Link::ToProducer, named);
    told.push(("first", first.next()));
    for number in 1..=3 {
        first.stream.write_all(&message(number)).expect("it reads");
    }
    told.push(("first", confirmed(&mut first, 3)));

    // A name has one connection: the last.
    let mut second = Client::connect(addr, Link::ToProducer, named);
    told.push(("second", second.next()));
    let end = first.until(|told| *told == Told::End);
    told.extend(end.into_iter().map(|it| ("first", it)));
    second.stream.write_all(&message(4)).expect("it reads");
    told.push(("second", confirmed(&mut second, 4)));
    second.say(&Control::Flush(7));
    told.push(("second", second.next()));

    // It holds two at a time. One fails and comes again.
    let mut work = worker.until(is_message(2));
    for position in 2..=3 {
        worker.settle(Outcome::Done, position, position);
        work.extend(worker.until(is_message(position + 1)));
    }
    worker.settle(Outcome::Failed, 1, 1);
    worker.settle(Outcome::Done, 4, 4);
    work.extend(worker.until(is_message(1)));
    // Who leaves in an orderly way gives back what it holds.
    worker.say(&Control::Bye);
    work.extend(worker.until(|told| *told == Told::End));
    told.extend(work.into_iter().map(|it| ("worker", it)));
    let mut next = Client::connect(addr, Link::ToConsumer, line);
    let rest = next.until(is_message(1));
    told.extend(rest.into_iter().map(|it| ("next", it)));
    next.settle(Outcome::Done, 1, 1);
    next.say(&Control::Ping(9));
    told.push(("next", next.next()));

    // A position that was never sent, an option that is none, a frame of the other role.
    next.settle(Outcome::Done, 5, 5);
    let end = next.until(|told| *told == Told::End);
    told.extend(end.into_iter().map(|it| ("next", it)));
    for line in [
        "PRODUCER colour=red\n",
        "CONSUMER prefetch=0\n",
        "PRODUCER v=3\n",
    ] {
        let mut refused = Client::connect(addr, Link::ToProducer, line);
        let end = refused.until(|told| *told == Told::End);
        told.extend(end.into_iter().map(|it| ("refused", it)));
    }
    second.settle(Outcome::Done, 1, 1);
    let end = second.until(|told| *told == Told::End);
    told.extend(end.into_iter().map(|it| ("second", it)));

    let mut unnamed = Client::connect(addr, Link::ToProducer, "PRODUCER v=2 heartbeat=0\n");
    told.push(("unnamed", unnamed.next()));
    unnamed
        .stream
        .shutdown(Shutdown::Write)
        .expect("it is open");
    told.push(("unnamed", unnamed.next()));

    let lines = told.iter().map(|(who, what)| format!("{who}: {what:?}\n"));
    lines.collect()
}
